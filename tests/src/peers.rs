//! What other runtimes execute for the same networks: numbers to hold our own against.
//!
//! Counted in the same way (same emulator, same kind of plugin, markers round each inference, one thread, the median of 4 to
//! 60 inferences) with LiteRT 2.3.0 and onnxruntime 1.32.0, int8. LiteRT runs the published MLPerf Tiny files: ResNet-8 is the
//! same architecture there, the keyword network (`near`) has 2.657 M multiply-accumulates against 2.551 M, so
//! numbers are compared by multiply-accumulate. Both call through Python, which costs onnxruntime 0.024 M.
//!
//! Work, not time: on an in-order core a kernel tuned for it executes more instructions to save cycles.

/// One runtime on one network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peer {
    /// Name and version of the runtime.
    pub runtime: &'static str,
    /// Our name of the network.
    pub model: &'static str,
    /// Millions of multiply-accumulates of what the peer ran.
    pub mmac: f64,
    /// Millions of instructions of one inference, on each of [`crate::guest::COUNTED`].
    minsn: [f64; 3],
}

const fn litert(model: &'static str, mmac: f64, minsn: [f64; 3]) -> Peer {
    Peer { runtime: "LiteRT", model, mmac, minsn }
}

const fn onnxruntime(model: &'static str, mmac: f64, minsn: [f64; 3]) -> Peer {
    Peer { runtime: "onnxruntime", model, mmac, minsn }
}

/// Cortex-A53, A72, A76.
const PEERS: [Peer; 6] = [
    litert("resnet8", 12.502, [5.016, 4.326, 1.504]),
    onnxruntime("resnet8", 12.502, [5.307, 5.307, 3.097]),
    litert("dscnn", 2.657, [1.340, 1.943, 0.715]),
    onnxruntime("dscnn", 2.551, [1.362, 1.362, 0.912]),
    onnxruntime("mobilenetv2_96", 11.934, [8.761, 8.761, 5.893]),
    onnxruntime("mobilenetv2_224", 300.774, [119.786, 119.785, 64.224]),
];

/// The peer with the fewest instructions a multiply-accumulate for `model` on `cpu`, and that number.
pub fn best(model: &str, cpu: &str) -> Option<(&'static str, f64)> {
    let at = crate::guest::COUNTED.iter().position(|counted| counted.name == cpu)?;
    let peers = PEERS.iter().filter(|peer| peer.model == model);
    peers.map(|peer| (peer.runtime, peer.minsn[at] / peer.mmac)).min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_peer_depends_on_the_cpu() {
        let of = |model, cpu| best(model, cpu).map(|(runtime, per_mac)| (runtime, (per_mac * 1000.0).round()));
        assert_eq!(of("resnet8", "cortex-a76"), Some(("LiteRT", 120.0)));
        assert_eq!(of("dscnn", "cortex-a53"), Some(("LiteRT", 504.0)));
        assert_eq!(of("dscnn", "cortex-a72"), Some(("onnxruntime", 534.0)));
        assert_eq!((of("residual_net", "cortex-a53"), of("resnet8", "max")), (None, None));
    }
}
