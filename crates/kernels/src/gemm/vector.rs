//! One register of f32: what the tiles of a product are made of, and the square transpose that turns rows into
//! columns on the way in and out.

use std::array::from_fn;

/// Lanes that are multiplied and added together.
///
/// # Safety
/// The methods may only run where the processor has the instructions of the implementing type; pointers lead to as
/// many elements as are read or written, aligned or not.
pub(crate) trait Vector: Copy {
    /// Elements in it.
    const LANES: usize;
    /// How many of them the processor has.
    const REGISTERS: usize;
    /// How many lie side by side in a full panel.
    const ACROSS: usize;
    /// The edge of the square that [`Self::transpose`] turns.
    const SQUARE: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Asks for what lies there to be brought near; nothing else happens, wherever it is.
    unsafe fn prefetch(at: *const f32);
    /// The same into the second cache, which has room for more that is under way.
    unsafe fn prefetch_far(at: *const f32);
    unsafe fn add(self, x: Self) -> Self;
    /// `self·x + sum`.
    unsafe fn mul_add(self, x: Self, sum: Self) -> Self;
    /// The sum of all elements of each: the halves are added, then their halves, down to one.
    unsafe fn sums(four: [Self; 4]) -> [f32; 4];
    /// Element (i, j) of the square at `from`, whose rows lie `from_stride` apart, becomes element (j, i) at `to`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// Sums of products along rows have this many lanes: one AVX-512 register, or as many narrower ones.
pub(crate) const LANES: usize = 16;

/// Those lanes.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<V, const COUNT: usize>([V; COUNT]);

impl<V: Vector, const COUNT: usize> Lanes<V, COUNT> {
    /// Zeros.
    #[inline(always)]
    pub(crate) unsafe fn zero() -> Self {
        // SAFETY: the processor has V's instructions; so in all of them.
        Self(from_fn(|_| unsafe { V::zero() }))
    }

    #[inline(always)]
    pub(crate) unsafe fn load(at: *const f32) -> Self {
        // SAFETY: as above, and all lanes can be read.
        Self(from_fn(|i| unsafe { V::load(at.add(i * V::LANES)) }))
    }

    /// Up to a whole register, filled up with zeros.
    #[inline(always)]
    pub(crate) unsafe fn part(at: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; LANES];
        // SAFETY: as above, and `count` numbers can be read.
        unsafe {
            lanes.as_mut_ptr().copy_from_nonoverlapping(at, count);
            Self::load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    pub(crate) unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
        // SAFETY: as above.
        Self(from_fn(|i| unsafe { self.0[i].mul_add(x.0[i], sum.0[i]) }))
    }

    /// The halves added, then their halves, until one register is left.
    #[inline(always)]
    pub(crate) unsafe fn fold(mut self) -> V {
        let mut half = COUNT / 2;
        while half > 0 {
            for i in 0..half {
                // SAFETY: as above.
                self.0[i] = unsafe { self.0[i].add(self.0[i + half]) };
            }
            half /= 2;
        }
        self.0[0]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    impl Vector for __m512 {
        const LANES: usize = 16;
        const REGISTERS: usize = 32;
        const ACROSS: usize = 3;
        const SQUARE: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: by the trait's contract; so in all of them.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        unsafe fn prefetch_far(at: *const f32) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, x, sum) }
        }

        #[inline(always)]
        unsafe fn add(self, x: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(self, x) }
        }

        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [f32; 4] {
            let mut all = [0.0; 16];
            // SAFETY: as above.
            unsafe {
                let halves =
                    |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b));
                let (ab, cd) = (halves(a, b), halves(c, d));
                let (low, high) = (_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
                let quarters = _mm512_add_ps(low, high);
                let pairs = _mm512_add_ps(quarters, _mm512_permute_ps::<0x4E>(quarters));
                _mm512_add_ps(pairs, _mm512_permute_ps::<0xB1>(pairs)).store(all.as_mut_ptr());
            }
            [all[0], all[4], all[8], all[12]]
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: as above; whatever has AVX-512 has AVX2.
            unsafe { transpose_8(from, from_stride, to, to_stride) }
        }
    }

    impl Vector for __m256 {
        const LANES: usize = 8;
        const REGISTERS: usize = 16;
        const ACROSS: usize = 2;
        const SQUARE: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: by the trait's contract; so in all of them.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        unsafe fn prefetch_far(at: *const f32) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, x, sum) }
        }

        #[inline(always)]
        unsafe fn add(self, x: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_add_ps(self, x) }
        }

        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [f32; 4] {
            let mut all = [0.0; 8];
            // SAFETY: as above.
            unsafe {
                let halves =
                    |a, b| _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
                let (ab, cd) = (halves(a, b), halves(c, d));
                let (low, high) = (_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xEE>(ab, cd));
                let pairs = _mm256_add_ps(low, high);
                _mm256_add_ps(pairs, _mm256_permute_ps::<0xB1>(pairs)).store(all.as_mut_ptr());
            }
            [all[0], all[4], all[2], all[6]]
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: as above.
            unsafe { transpose_8(from, from_stride, to, to_stride) }
        }
    }

    /// Pairs, then pairs of pairs, then halves change places.
    #[inline(always)]
    unsafe fn transpose_8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: by the trait's contract.
        unsafe {
            let row = |i: usize| _mm256_loadu_ps(from.add(i * from_stride));
            let put = |i: usize, v: __m256| _mm256_storeu_ps(to.add(i * to_stride), v);
            let [low0, high0] = interleave(row(0), row(1));
            let [low1, high1] = interleave(row(2), row(3));
            let [low2, high2] = interleave(row(4), row(5));
            let [low3, high3] = interleave(row(6), row(7));
            let pairs = [[low0, low1, low2, low3], [high0, high1, high2, high3]];
            for (i, [a, b, c, d]) in pairs.into_iter().enumerate() {
                let (first, second) = (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
                let (third, fourth) = (_mm256_shuffle_ps::<0x44>(c, d), _mm256_shuffle_ps::<0xEE>(c, d));
                put(2 * i, _mm256_permute2f128_ps::<0x20>(first, third));
                put(2 * i + 1, _mm256_permute2f128_ps::<0x20>(second, fourth));
                put(2 * i + 4, _mm256_permute2f128_ps::<0x31>(first, third));
                put(2 * i + 5, _mm256_permute2f128_ps::<0x31>(second, fourth));
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave(a: __m256, b: __m256) -> [__m256; 2] {
        // SAFETY: by the trait's contract.
        unsafe { [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)] }
    }
}

/// Four lanes of whatever every processor of the target has: NEON on Arm, SSE2 on x86-64.
#[derive(Clone, Copy)]
pub(crate) struct Four([f32; 4]);

impl Vector for Four {
    const LANES: usize = 4;
    const REGISTERS: usize = if cfg!(target_arch = "x86_64") { 16 } else { 32 };
    const ACROSS: usize = if cfg!(target_arch = "x86_64") { 2 } else { 3 };
    const SQUARE: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: by the trait's contract.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: by the trait's contract.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn prefetch_far(_: *const f32) {}

    #[inline(always)]
    unsafe fn add(self, x: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + x.0[i]))
    }

    #[inline(always)]
    unsafe fn sums(four: [Self; 4]) -> [f32; 4] {
        four.map(|Self([a, b, c, d])| (a + c) + (b + d))
    }

    #[inline(always)]
    unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
        // where the processor has no such instruction, it would be a call for every element
        const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        let lane = |i: usize| if FUSED { self.0[i].mul_add(x.0[i], sum.0[i]) } else { self.0[i] * x.0[i] + sum.0[i] };
        Self(std::array::from_fn(lane))
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: by the trait's contract.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}
