//! The functions of `cpp/shim.cpp`.
#![allow(unsafe_code)]
// Every call hands over pointers that live as long as the call: those of tensors that are borrowed for it, and those of slices
// of them. The shim reads as many of a list as it is told, keeps none, and gives either all of its results, each of which becomes
// one `Tensor`'s own, or a message, which is copied and freed. The tests go through every function.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

use tch::{TchError, Tensor};

use crate::Then;

unsafe extern "C" {
    /// C's own.
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

/// `value` as a function of `inputs`, where `backward` gives dL/d(input) of each from dL/d(value).
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
        // SAFETY: `data` is the box of below, which the graph keeps until it is dropped, and lends to one thread at a time.
        let backward = unsafe { &*data.cast::<F>() };
        // SAFETY: a tensor that the shim has made with `new`, for this function to own.
        let grad = unsafe { Tensor::from_ptr(grad.cast()) };
        match made_by(backward, grad, count) {
            Ok(made) => {
                for (i, tensor) in made.into_iter().enumerate() {
                    // SAFETY: there is room for `count` of them, and so many there are. The shim owns each from here on.
                    unsafe { *grads.add(i) = std::mem::ManuallyDrop::new(tensor).as_mut_ptr().cast() };
                }
                0
            }
            Err(message) => {
                let message: Vec<u8> = message.bytes().filter(|&byte| byte != 0).chain([0]).collect();
                // SAFETY: the string ends with the one 0 in it; the shim frees the copy.
                unsafe { *error = strdup(message.as_ptr().cast()) };
                1
            }
        }
    }
    extern "C" fn drop_box<F>(data: *mut c_void) {
        // SAFETY: the box of below, which the graph gives away once.
        drop(unsafe { Box::from_raw(data.cast::<F>()) });
    }
    let inputs: Vec<_> = inputs.iter().map(|input| pointer(input)).collect();
    let data = Box::into_raw(Box::new(backward)).cast();
    // SAFETY: see the top of the file; a list of as many pointers, room for one result, and a box with functions of its type.
    made(|out, error| unsafe {
        nb_with_backward(pointer(value), inputs.as_ptr(), inputs.len(), data, call::<F>, drop_box::<F>, out, error)
    })
    .map(|[y]| y)
}

/// The `count` gradients that `backward` makes. A panic of it may not cross into C++.
fn made_by(backward: impl Fn(Tensor) -> Vec<Tensor>, grad: Tensor, count: usize) -> Result<Vec<Tensor>, String> {
    let grads = catch_unwind(AssertUnwindSafe(|| backward(grad))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        format!("the backward pass of a function panicked: {text}")
    })?;
    if grads.len() == count {
        Ok(grads)
    } else {
        Err(format!("the backward pass of a function gave {} gradients, expected {count}", grads.len()))
    }
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
