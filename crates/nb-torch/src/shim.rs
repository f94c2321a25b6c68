//! The functions of `cpp/shim.cpp`.
#![allow(unsafe_code)]
// Every call passes pointers that are valid during the call: to tensors borrowed for it, and to slices of such pointers. The
// shim reads as many elements of a list as it is told and keeps none. It returns either all of its results, each of which one
// `Tensor` owns, or a message, which is copied and freed. The tests call every function.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

use tch::{TchError, Tensor};

use crate::arguments::{Hyperparameters, Parameters, Then};

unsafe extern "C" {
    /// From the C library.
    fn strdup(text: *const c_char) -> *mut c_char;
    fn nb_torch_free(memory: *mut c_void);
    fn nb_linear(
        x: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        then: usize,
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_with_backward(
        value: *const c_void,
        inputs: *const *const c_void,
        count: usize,
        data: *mut c_void,
        call: extern "C" fn(*mut c_void, *mut c_void, *mut *mut c_void, usize, *mut *mut c_char) -> c_int,
        drop: extern "C" fn(*mut c_void),
        out: *mut *mut c_void,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_zeros_on_demand(count: i64, out: *mut *mut c_void, error: *mut *mut c_char) -> c_int;
    fn nb_populate(start: *mut f32, bytes: usize);
    fn nb_fused_adamw(
        values: *const *const c_void,
        grads: *const *const c_void,
        exp_avg: *const *const c_void,
        exp_avg_sq: *const *const c_void,
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

/// Computes f(x Wᵀ + b).
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, then: Then) -> Result<Tensor, TchError> {
    let bias = bias.map_or(null(), pointer);
    // SAFETY: see the top of the file; room for one result, and a number that the shim knows.
    new_tensors(|out, error| unsafe { nb_linear(pointer(x), pointer(weight), bias, then.number(), out, error) })
        .map(|[y]| y)
}

/// Returns `value` as a function of `inputs`; `backward` computes each dL/d(input) from dL/d(value).
pub(crate) fn with_backward<F>(value: &Tensor, inputs: &[&Tensor], backward: F) -> Result<Tensor, TchError>
where
    F: Fn(Tensor) -> Vec<Tensor> + Send + 'static,
{
    extern "C" fn call<F: Fn(Tensor) -> Vec<Tensor>>(
        data: *mut c_void,
        grad: *mut c_void,
        grads: *mut *mut c_void,
        count: usize,
        error: *mut *mut c_char,
    ) -> c_int {
        // SAFETY: `data` is the box created below, which the graph keeps until it is dropped and lends to one thread at a time.
        let backward = unsafe { &*data.cast::<F>() };
        // SAFETY: the shim created this tensor with `new`, and this function owns it.
        let grad = unsafe { Tensor::from_ptr(grad.cast()) };
        match gradients(backward, grad, count) {
            Ok(tensors) => {
                for (i, tensor) in tensors.into_iter().enumerate() {
                    // SAFETY: there is room for `count` tensors, and `tensors` has as many. The shim owns each of them from
                    // here on.
                    unsafe { *grads.add(i) = std::mem::ManuallyDrop::new(tensor).as_mut_ptr().cast() };
                }
                0
            }
            Err(message) => {
                let message: Vec<u8> = message.bytes().filter(|&byte| byte != 0).chain([0]).collect();
                // SAFETY: the string ends with its only 0; the shim frees the copy.
                unsafe { *error = strdup(message.as_ptr().cast()) };
                1
            }
        }
    }
    extern "C" fn drop_box<F>(data: *mut c_void) {
        // SAFETY: `data` is the box created below, which the graph releases once.
        drop(unsafe { Box::from_raw(data.cast::<F>()) });
    }
    let inputs: Vec<_> = inputs.iter().map(|input| pointer(input)).collect();
    let data = Box::into_raw(Box::new(backward)).cast();
    // SAFETY: see the top of the file; `inputs.len()` pointers, room for one result, and a box with functions of its type.
    new_tensors(|out, error| unsafe {
        nb_with_backward(pointer(value), inputs.as_ptr(), inputs.len(), data, call::<F>, drop_box::<F>, out, error)
    })
    .map(|[y]| y)
}

/// Calls `backward` and returns its `count` gradients. Its panics are caught, since they must not reach C++.
fn gradients(backward: impl Fn(Tensor) -> Vec<Tensor>, grad: Tensor, count: usize) -> Result<Vec<Tensor>, String> {
    let grads = catch_unwind(AssertUnwindSafe(|| backward(grad))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        format!("a custom backward pass panicked: {text}")
    })?;
    if grads.len() == count {
        Ok(grads)
    } else {
        Err(format!("a custom backward pass returned {} gradients, expected {count}", grads.len()))
    }
}

/// Returns the tensors that a call creates.
fn new_tensors<const N: usize>(
    call: impl FnOnce(*mut *mut c_void, *mut *mut c_char) -> c_int,
) -> Result<[Tensor; N], TchError> {
    let mut out = [null_mut(); N];
    checked(|error| call(out.as_mut_ptr(), error))?;
    // SAFETY: the shim created these tensors with `new`, as tch expects; each gets one owner.
    Ok(out.map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }))
}

/// Returns `count` zeros in pages that are provided when they are first written.
pub(crate) fn zeros_on_demand(count: i64) -> Result<Tensor, TchError> {
    // SAFETY: see the top of the file; room for one result.
    new_tensors(|out, error| unsafe { nb_zeros_on_demand(count, out, error) }).map(|[zeros]| zeros)
}

/// Provides the pages of `entries`, whose values stay the same.
pub(crate) fn populate(entries: &mut [f32]) {
    // SAFETY: the slice is writable memory, in pages that its entries lie in at least partly. The call changes no value in them.
    unsafe { nb_populate(entries.as_mut_ptr(), size_of_val(entries)) }
}

/// Updates `parameters`. The scalars are f32: the number of the step, the divisor of gradients, and 1 to skip the update.
pub(crate) fn fused_adamw(
    parameters: &Parameters<'_>,
    step: &Tensor,
    grad_scale: &Tensor,
    found_inf: &Tensor,
    hyperparameters: &Hyperparameters,
) -> Result<(), TchError> {
    let Parameters { values, grads, exp_avg, exp_avg_sq } = *parameters;
    let (lists, count) = ([values, grads, exp_avg, exp_avg_sq], values.len());
    assert!(lists.iter().all(|list| list.len() == count), "four lists of equal length");
    let [values, grads, exp_avg, exp_avg_sq] = lists.map(|list| list.iter().map(pointer).collect::<Vec<_>>());
    let Hyperparameters { lr, beta1, beta2, weight_decay, epsilon } = *hyperparameters;
    // SAFETY: see the top of the file; four lists of `count` pointers.
    checked(|error| unsafe {
        nb_fused_adamw(
            values.as_ptr(),
            grads.as_ptr(),
            exp_avg.as_ptr(),
            exp_avg_sq.as_ptr(),
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

/// The arguments of attention that forward and backward pass have in common.
pub(crate) struct AttentionInputs<'a> {
    pub(crate) query: &'a Tensor,
    pub(crate) key: &'a Tensor,
    pub(crate) value: &'a Tensor,
    /// The first row of each sequence, then the end of the last one: [B + 1] i32.
    pub(crate) starts: &'a Tensor,
    /// The length of the longest sequence.
    pub(crate) longest: i64,
    /// The probability of dropping a weight.
    pub(crate) dropout: f64,
    /// The factor of scores before the softmax.
    pub(crate) scale: f64,
}

/// Returns the result, the logarithms of the rows' sums, and two tensors for the backward pass.
pub(crate) fn flash_attention(inputs: &AttentionInputs<'_>) -> Result<[Tensor; 4], TchError> {
    let AttentionInputs { query, key, value, starts, longest, dropout, scale } = *inputs;
    // SAFETY: see the top of the file; room for four results.
    new_tensors(|out, error| unsafe {
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

/// Returns the gradients of queries, keys and values. `forward` are the tensors that the forward pass has returned.
pub(crate) fn flash_attention_backward(
    grad: &Tensor,
    forward: &[Tensor; 4],
    inputs: &AttentionInputs<'_>,
) -> Result<[Tensor; 3], TchError> {
    let AttentionInputs { query, key, value, starts, longest, dropout, scale } = *inputs;
    let forward = forward.each_ref().map(pointer);
    // SAFETY: see the top of the file; four tensors of the forward pass, room for three results.
    new_tensors(|out, error| unsafe {
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

/// Returns the `at::Tensor` behind a tensor.
fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// Turns the status and message of a call into a result.
fn checked(call: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<(), TchError> {
    let mut error = null_mut();
    if call(&mut error) == 0 {
        return Ok(());
    }
    if error.is_null() {
        return Err(TchError::Torch("libtorch failed, and there was no memory for its message".to_owned()));
    }
    // SAFETY: the shim has allocated a C string, which is copied, then freed once.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: as above.
    unsafe { nb_torch_free(error.cast()) };
    Err(TchError::Torch(text))
}
