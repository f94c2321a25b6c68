//! The end of a step over the parameters of a 6-layer MiniLM: norm of the gradient, factor of the clipping, AdamW. With
//! the word table's rows updated when they are needed (400 of 30,522 have a gradient) and all in every step.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nb_model::{Arena, Layout};
use nb_train::optim::{AdamW, ParamGroup, clip_factor, gradient_norm};
use tch::{Device, Tensor};

const TABLE: [i64; 2] = [30_522, 384];
const REST: [i64; 2] = [28_400, 384];
const TOUCHED: i64 = 400;

fn arena(is_lazy: bool) -> Arena {
    let mut layout = Layout::default();
    match is_lazy {
        true => layout.push_table("words", TABLE),
        false => layout.push("words", &TABLE),
    };
    layout.push("layers", &REST);
    Arena::zeros(layout, Device::Cpu)
}

/// Fills the gradients as a backward pass leaves them.
fn give_gradients(arena: &Arena) {
    let _ = arena.grad("layers").fill_(1e-3);
    let _ = arena.grad("words").narrow(0, 1000, TOUCHED).fill_(1e-3);
    arena.touched().add(1000..1000 + TOUCHED as u32);
}

fn optimiser(c: &mut Criterion) {
    let mut group = c.benchmark_group("optimiser");
    group.sample_size(30);
    group.throughput(Throughput::Elements(
        (TABLE.iter().product::<i64>() + REST.iter().product::<i64>()).unsigned_abs(),
    ));
    for (name, is_lazy) in [("rows_when_needed", true), ("every_row", false)] {
        let arena = arena(is_lazy);
        let mut groups = [ParamGroup::new(&arena, 1e-4)];
        give_gradients(&arena);
        group.bench_function(format!("norm_and_clip/{name}"), |b| b.iter(|| clip_factor(&gradient_norm(&groups), 1.0)));
        let mut step = 0;
        group.bench_function(format!("adamw/{name}"), |b| {
            b.iter_batched(
                || give_gradients(&arena),
                |()| {
                    step += 1;
                    AdamW::new(0.01).step(&mut groups, step, 1.0, &Tensor::from(1.0));
                },
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, optimiser);
criterion_main!(benches);
