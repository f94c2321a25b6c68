//! Features of the processor that tests need.

/// Returns true if the processor has AVX-512F, which the products in f32 need.
pub fn has_avx512f() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Returns true if the processor has AVX512-BF16, which the products in bf16 need.
pub fn has_avx512bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
