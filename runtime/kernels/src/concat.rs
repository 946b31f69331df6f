//! One input of a concatenation over channels. Scale and zero point pass unchanged; only bytes move.
//!
//! ```text
//! x (P, X)   y (P, C)        P = H * W pixels
//! y[p, at + c] = x[p, c]     called once an input, `at` growing by X
//! ```
//!
//! One input a call, because the caller's tensors lie in one arena of which it can lend two slices at a time.

/// What one step of a concatenation is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Concat<'a> {
    /// Input, `P X`.
    pub x: &'a [i8],
    /// Its channels, X.
    pub x_channels: usize,
    /// Channels of the output, C.
    pub y_channels: usize,
    /// First channel of the output that this input fills; at + X <= C.
    pub at: usize,
}

impl Concat<'_> {
    fn check(&self, y: &[i8]) {
        let Concat { x, x_channels, y_channels, at } = *self;
        assert!(x_channels > 0 && at + x_channels <= y_channels, "{at} + {x_channels} channels of {y_channels}");
        assert_eq!(x.len() % x_channels, 0, "x against its channels");
        assert_eq!(y.len(), x.len() / x_channels * y_channels, "y against pixels * C");
    }
}

/// The definition; every other version is tested against it.
pub fn reference(c: &Concat<'_>, y: &mut [i8]) {
    c.check(y);
    for (i, &x) in c.x.iter().enumerate() {
        y[i / c.x_channels * c.y_channels + c.at + i % c.x_channels] = x;
    }
}

/// A copy a pixel.
pub fn portable(c: &Concat<'_>, y: &mut [i8]) {
    c.check(y);
    for (x_p, y_p) in c.x.chunks_exact(c.x_channels).zip(y.chunks_exact_mut(c.y_channels)) {
        y_p[c.at..c.at + c.x_channels].copy_from_slice(x_p);
    }
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::concat(super::portable);
    }
}
