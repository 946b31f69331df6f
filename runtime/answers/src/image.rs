//! A decoded image.

/// 8-bit RGB, row-major: `rgb` is (H, W, 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// W
    pub width: u32,
    /// H
    pub height: u32,
    /// `3 * width * height` bytes.
    pub rgb: Vec<u8>,
}

impl Image {
    /// One colour everywhere.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Image {
        Image { width, height, rgb: colour.repeat(width as usize * height as usize) }
    }

    /// The pixel at column `x`, row `y`; panics outside the image.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        assert!(x < self.width && y < self.height, "pixel ({x}, {y}) of a {}x{} image", self.width, self.height);
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Neither side is zero and `rgb` has the bytes that the sides promise.
    pub fn is_whole(&self) -> bool {
        self.width > 0 && self.height > 0 && self.rgb.len() as u64 == 3 * self.width as u64 * self.height as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_image_has_all_its_bytes() {
        let mut image = Image::filled(3, 2, [1, 2, 3]);
        assert!(image.is_whole());
        assert_eq!(image.pixel(2, 1), [1, 2, 3]);
        image.rgb.pop();
        assert!(!image.is_whole());
        assert!(!Image::filled(0, 2, [0; 3]).is_whole());
    }
}
