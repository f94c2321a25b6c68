//! The functions of `cpp/shim.cpp`.
#![allow(unsafe_code)]
// Every call hands over pointers that live as long as the call: those of tensors that are borrowed for it, and those of slices
// of them. The shim reads as many of a list as it is told, keeps none, and gives either all of its results, each of which becomes
// one `Tensor`'s own, or a message, which is copied and freed. The tests go through every function.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use tch::{TchError, Tensor};

use crate::Then;

unsafe extern "C" {
    fn nb_torch_free(memory: *mut c_void);
    fn nb_linear(
        x: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        then: usize,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_linear_onto(
        other: *const c_void,
        x: *const c_void,
        weight: *const c_void,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_fused_adamw(
        values: *const *const c_void,
        grads: *const *const c_void,
        first: *const *const c_void,
        second: *const *const c_void,
        count: usize,
        step: *const c_void,
        grad_scale: *const c_void,
        found_inf: *const c_void,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_flash_attention(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        starts: *const c_void,
        longest: i64,
        dropout: f64,
        scale: f64,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_flash_attention_backward(
        grad: *const c_void,
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        forward: *const *const c_void,
        starts: *const c_void,
        longest: i64,
        dropout: f64,
        scale: f64,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
}

/// f(x Wᵀ + b).
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, then: Then) -> Result<Tensor, TchError> {
    let bias = bias.map_or(null(), pointer);
    // SAFETY: see the top of the file; room for one result, and a number that the shim knows.
    made(|out, error| unsafe { nb_linear(pointer(x), pointer(weight), bias, then.number(), out, error) }).map(|[y]| y)
}

/// other + x Wᵀ.
pub(crate) fn linear_onto(other: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor, TchError> {
    // SAFETY: see the top of the file; room for one result.
    made(|out, error| unsafe { nb_linear_onto(pointer(other), pointer(x), pointer(weight), out, error) }).map(|[y]| y)
}

/// The tensors that a call makes.
fn made<const N: usize>(
    call: impl FnOnce(*mut *mut c_void, *mut *mut c_char) -> c_int,
) -> Result<[Tensor; N], TchError> {
    let mut out = [null_mut(); N];
    checked(|error| call(out.as_mut_ptr(), error))?;
    // SAFETY: tensors that the shim has made with `new`, as tch frees them; each goes to one owner.
    Ok(out.map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }))
}

/// Values, gradients, first and second moments, as many of each; the step's number, what gradients are divided by, and 1 for an
/// update that is not to be made: scalars of f32.
pub(crate) fn fused_adamw(
    lists: [&[Tensor]; 4],
    [step, grad_scale, found_inf]: [&Tensor; 3],
    how: &crate::Hyperparameters,
) -> Result<(), TchError> {
    let count = lists[0].len();
    assert!(lists.iter().all(|list| list.len() == count), "four lists of as many tensors");
    let [values, grads, first, second] = lists.map(|list| list.iter().map(pointer).collect::<Vec<_>>());
    let crate::Hyperparameters { lr, beta1, beta2, weight_decay, epsilon } = *how;
    // SAFETY: see the top of the file; four lists of `count` pointers.
    checked(|error| unsafe {
        nb_fused_adamw(
            values.as_ptr(),
            grads.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            count,
            pointer(step),
            pointer(grad_scale),
            pointer(found_inf),
            lr,
            beta1,
            beta2,
            weight_decay,
            epsilon,
            error,
        )
    })
}

/// The result, the logarithms of the rows' sums, and two tensors for the backward pass.
pub(crate) fn flash_attention(
    [query, key, value, starts]: [&Tensor; 4],
    longest: i64,
    dropout: f64,
    scale: f64,
) -> Result<[Tensor; 4], TchError> {
    // SAFETY: see the top of the file; room for four results.
    made(|out, error| unsafe {
        nb_flash_attention(
            pointer(query),
            pointer(key),
            pointer(value),
            pointer(starts),
            longest,
            dropout,
            scale,
            out,
            error,
        )
    })
}

/// Gradients of queries, keys and values. `forward` is what the forward pass has given.
pub(crate) fn flash_attention_backward(
    [grad, query, key, value, starts]: [&Tensor; 5],
    forward: &[Tensor; 4],
    longest: i64,
    dropout: f64,
    scale: f64,
) -> Result<[Tensor; 3], TchError> {
    let forward = forward.each_ref().map(pointer);
    // SAFETY: see the top of the file; four tensors of the forward pass, room for three results.
    made(|out, error| unsafe {
        nb_flash_attention_backward(
            pointer(grad),
            pointer(query),
            pointer(key),
            pointer(value),
            forward.as_ptr(),
            pointer(starts),
            longest,
            dropout,
            scale,
            out,
            error,
        )
    })
}

/// The `at::Tensor` behind a tensor.
fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// The result of a call that tells its failure in a message.
fn checked(call: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<(), TchError> {
    let mut error = null_mut();
    if call(&mut error) == 0 {
        return Ok(());
    }
    if error.is_null() {
        return Err(TchError::Torch("no memory for a message".to_owned()));
    }
    // SAFETY: the shim has allocated a C string, which is copied, then freed once.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: as above.
    unsafe { nb_torch_free(error.cast()) };
    Err(TchError::Torch(text))
}
