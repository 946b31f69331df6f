//! The few operators that a gradient needs and tract lacks. One file each; this is the only place where tract's operator
//! traits are implemented.

mod accumulate;
mod axis_map_dx;
mod conv_dw;
mod conv_dx;
mod dense;
mod depthwise_dw;
mod distill_loss;
mod elementwise;
mod extremum_dx;
mod gate;
pub(crate) mod integer;
mod max_pool_dx;
mod sum_pool_dx;
mod unfold;
mod windows;
mod zero_insert;

pub(crate) use accumulate::Accumulate;
pub(crate) use axis_map_dx::{AxisMapDx, Tap};
pub(crate) use conv_dw::{ConvDw, Part, UnpackDw};
pub(crate) use conv_dx::ConvDx;
pub(crate) use dense::{DenseDw, DenseDx};
pub(crate) use depthwise_dw::DepthwiseDw;
pub(crate) use distill_loss::DistillLoss;
pub(crate) use elementwise::{ElementwiseDx, Function};
pub(crate) use extremum_dx::ExtremumDx;
pub(crate) use gate::Gate;
pub(crate) use max_pool_dx::MaxPoolDx;
pub(crate) use sum_pool_dx::SumPoolDx;
pub(crate) use unfold::Unfold;
pub(crate) use windows::Windows;
pub(crate) use zero_insert::ZeroInsert;

/// The trait boilerplate of an operator whose output facts are `facts(inputs)` and whose value is `compute(inputs)`.
macro_rules! gradient_op {
    ($op:ty, $name:literal) => {
        impl tract_core::internal::Op for $op {
            fn name(&self) -> tract_core::internal::StaticName {
                $name.into()
            }
            tract_core::op_as_typed_op!();
        }
        impl tract_core::internal::EvalOp for $op {
            tract_core::op_out_of_plan!();
            fn eval(
                &self,
                _context: &tract_core::internal::EvalContext,
                inputs: tract_core::internal::TVec<tract_core::internal::TValue>,
            ) -> tract_core::internal::TractResult<tract_core::internal::TVec<tract_core::internal::TValue>> {
                self.compute(inputs)
            }
        }
        impl tract_core::internal::TypedOp for $op {
            fn output_facts(
                &self,
                inputs: &[&tract_core::internal::TypedFact],
            ) -> tract_core::internal::TractResult<tract_core::internal::TVec<tract_core::internal::TypedFact>> {
                self.facts(inputs)
            }
            tract_core::as_op!();
        }
    };
}
pub(crate) use gradient_op;

/// The f32 elements of a tensor, as a closure argument: tract hands out views with a lifetime of their own.
pub(crate) fn with_f32<T>(
    tensor: &tract_core::internal::Tensor,
    f: impl FnOnce(&[f32]) -> T,
) -> tract_core::internal::TractResult<T> {
    let view = tensor.try_as_plain_ram()?;
    Ok(f(view.as_slice::<f32>()?))
}
