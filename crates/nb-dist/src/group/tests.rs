//! Ranks as threads of one process: Gloo does not know the difference.

#![cfg(nb_gloo)]

use std::net::TcpListener;

use super::*;

/// What each of `size` ranks returns.
fn in_a_group<R: Send>(size: usize, work: impl Fn(ProcessGroup) -> R + Sync) -> Vec<R> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let join = |rank| {
        let host = "127.0.0.1".to_owned();
        let world = World {
            rank,
            size,
            local_rank: rank,
            local_size: size,
            host,
            port,
            launcher_keeps_store: false,
            attempt: 0,
        };
        ProcessGroup::join(world).unwrap()
    };
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                scope.spawn({
                    let work = &work;
                    move || work(join(rank))
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

#[test]
fn sums_are_those_of_all_ranks_and_the_same_bits_in_each() {
    for size in [2, 3, 4] {
        let all = in_a_group(size, |group| {
            let own = group.rank() as f64 + 1.0;
            let options = (Kind::Float, Device::Cpu);
            let mut large = (Tensor::arange(100_003, options) * 0.37).sin() * own;
            let mut strided = Tensor::from_slice(&[own, 0.0, -own, 1.0]).view([2, 2]).transpose(0, 1);
            let mut largest = Tensor::from_slice(&[0_u8, group.rank() as u8, 9]);
            group.sum(&mut [&mut large, &mut strided]).unwrap();
            group.max(&mut [&mut largest]).unwrap();
            let out = (Vec::<f32>::try_from(&large).unwrap(), numbers(&strided), numbers(&largest));
            group.leave().unwrap();
            out
        });
        let total = (1..=size).sum::<usize>() as f64;
        for (large, strided, largest) in &all {
            assert_eq!(large, &all[0].0);
            assert!((f64::from(large[1]) - 0.37_f64.sin() * total).abs() < 1e-5);
            assert_eq!(strided, &[total, -total, 0.0, size as f64]);
            assert_eq!(largest, &[0.0, size as f64 - 1.0, 9.0]);
        }
    }
}

#[test]
fn what_the_first_has_all_have() {
    let all = in_a_group(3, |group| {
        let mut tensor = Tensor::from_slice(&[group.rank() as f32 + 5.0]);
        group.broadcast(&mut tensor).unwrap();
        let bytes = group.broadcast_bytes(if group.is_first() { b"the plan".to_vec() } else { Vec::new() }).unwrap();
        let nothing = group.broadcast_bytes(Vec::new()).unwrap();
        let table = group.gather(&[group.rank() as i64, -7]).unwrap();
        let out = (numbers(&tensor), bytes, nothing, table);
        group.leave().unwrap();
        out
    });
    let table = (0..3).map(|rank| vec![rank, -7]).collect();
    assert!(all.iter().all(|out| *out == (vec![5.0], b"the plan".to_vec(), Vec::new(), Vec::clone(&table))), "{all:?}");
}

#[test]
fn a_rank_that_fails_is_named_with_its_reason() {
    let errors = in_a_group(3, |group| {
        if group.rank() == 2 {
            group.tell_end("the disk is full");
            return String::new();
        }
        group.meet().unwrap_err().to_string()
    });
    assert_eq!(errors[..2], ["process 2: the disk is full", "process 2: the disk is full"]);
}

#[test]
fn a_group_of_one_needs_no_others() {
    let world = World {
        rank: 0,
        size: 1,
        local_rank: 0,
        local_size: 1,
        host: "nowhere".into(),
        port: 1,
        launcher_keeps_store: false,
        attempt: 0,
    };
    let group = ProcessGroup::join(world).unwrap();
    let mut tensor = Tensor::from(3.5);
    group.sum(&mut [&mut tensor]).unwrap();
    assert_eq!((tensor.double_value(&[]), group.gather(&[4]).unwrap()), (3.5, vec![vec![4]]));
    assert!(group.is_first() && group.is_first_here());
    drop(group.at_work());
    group.leave().unwrap();
}

/// One process alone on a GPU, through NCCL; nothing where there is none.
#[cfg(nb_nccl)]
#[test]
fn a_gpus_tensors_go_through_nccl() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = StoreAt { host: "127.0.0.1", port, serves: true, prefix: "nccl" };
    let store = Store::open(&at, RENDEZVOUS).unwrap();
    let opened = Backend::nccl(&store, (0, 1), RENDEZVOUS);
    if !tch::Cuda::is_available() {
        assert!(opened.unwrap_err().contains("no GPUs found"));
        return;
    }
    let nccl = opened.unwrap();
    let tensor = Tensor::from_slice(&[1.5_f32, -2.0]).to_device(Device::Cuda(0));
    for pending in [nccl.all_reduce(&tensor, Reduce::Sum), nccl.broadcast(&tensor)] {
        let pending = pending.unwrap();
        while !pending.wait(SLICE).unwrap() {}
    }
    assert_eq!(numbers(&tensor.to_device(Device::Cpu)), [1.5, -2.0]);
}
