//! Vectors of eight numbers, in registers of AVX2 where the processor has them.

/// Numbers in a vector.
pub(super) const LANES: usize = 8;

/// Arithmetic on vectors, inside of [`Lanes::run`].
pub(super) trait Lanes: Copy + Send + Sync {
    /// A vector.
    type Vector: Copy;

    /// The same number in every place.
    fn splat(self, value: f32) -> Self::Vector;

    fn load(self, values: [f32; LANES]) -> Self::Vector;

    fn store(self, vector: Self::Vector) -> [f32; LANES];

    /// `a b + c`.
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Sum of the numbers of a vector, in a fixed order.
    fn sum(self, vector: Self::Vector) -> f32;

    /// Calls a function that is compiled for this kind of vector together with everything that is inlined into it.
    fn run<R>(self, function: impl FnOnce() -> R) -> R;
}

/// What every processor can do.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Lanes for Portable {
    type Vector = [f32; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: [f32; LANES]) -> Self::Vector {
        values
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector) -> [f32; LANES] {
        vector
    }

    #[inline(always)]
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        vector.iter().sum()
    }

    #[inline(always)]
    fn run<R>(self, function: impl FnOnce() -> R) -> R {
        function()
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for pulp::x86::V3 {
    type Vector = std::arch::x86_64::__m256;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        self.avx._mm256_set1_ps(value)
    }

    #[inline(always)]
    fn load(self, values: [f32; LANES]) -> Self::Vector {
        pulp::cast(values)
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector) -> [f32; LANES] {
        pulp::cast(vector)
    }

    #[inline(always)]
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.fma._mm256_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        pulp::Simd::reduce_sum_f32s(self, pulp::cast(vector))
    }

    #[inline(always)]
    fn run<R>(self, function: impl FnOnce() -> R) -> R {
        self.vectorize(function)
    }
}

/// A call with the widest vectors that this processor has.
macro_rules! with_lanes {
    ($lanes:ident => $result:expr) => {{
        #[cfg(target_arch = "x86_64")]
        match pulp::x86::V3::try_new() {
            Some($lanes) => $result,
            None => {
                let $lanes = $crate::vision::cpu::lanes::Portable;
                $result
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let $lanes = $crate::vision::cpu::lanes::Portable;
            $result
        }
    }};
}
pub(super) use with_lanes;
