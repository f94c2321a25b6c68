//! Groups of several processes. Each rank is a process, because a process can be in one group at a time. A test starts
//! its executable once per rank. Each rank does the work and prints a result, which the parent process checks.

#![cfg(nb_gloo)]

use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::*;

/// The prefix of the line that a rank prints for the test.
const RESULT: &str = "result of this rank: ";

/// Returns the results of `work` in `size` ranks. In a rank, which runs the test `name` again, returns `None`.
fn in_a_group(name: &str, size: usize, work: impl Fn(ProcessGroup) -> String) -> Option<Vec<String>> {
    if let Some(world) = World::from_env().unwrap() {
        if world.size == size {
            println!("{RESULT}{}", work(ProcessGroup::join(world).unwrap()));
        }
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("group::tests::{name}"), "--exact", "--nocapture"]).stdout(Stdio::piped());
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
        command.env("LOCAL_WORLD_SIZE", size.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.env("TORCH_CPP_LOG_LEVEL", "ERROR").spawn().unwrap()
    };
    let ranks: Vec<_> = (0..size).map(start).collect();
    let result_of = |rank: std::process::Child| {
        let output = String::from_utf8(rank.wait_with_output().unwrap().stdout).unwrap();
        let at = output.find(RESULT).unwrap_or_else(|| panic!("{output}"));
        output[at + RESULT.len()..].lines().next().unwrap().to_owned()
    };
    Some(ranks.into_iter().map(result_of).collect())
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

#[test]
fn sums_cover_all_ranks_and_have_the_same_bits_in_each() {
    for size in [2, 3, 4] {
        let all = in_a_group("sums_cover_all_ranks_and_have_the_same_bits_in_each", size, |group| {
            let factor = group.rank() as f64 + 1.0;
            let mut large = (Tensor::arange(100_003, (Kind::Float, Device::Cpu)) * 0.37).sin() * factor;
            let mut strided = Tensor::from_slice(&[factor, 0.0, -factor, 1.0]).view([2, 2]).transpose(0, 1);
            let mut largest = Tensor::from_slice(&[0_u8, group.rank() as u8, 9]);
            group.sum(&mut [&mut large, &mut strided]).unwrap();
            group.max(&mut [&mut largest]).unwrap();
            // The same sums, started first and finished later.
            let started = [Tensor::from(factor), Tensor::from_slice(&[factor, -factor])];
            let sums: Vec<Sum> = started.iter().map(|tensor| group.begin_sum(tensor).unwrap()).collect();
            let in_between = group.barrier().unwrap_err().to_string();
            assert!(in_between.contains("2 sums are open, expected 0"), "{in_between}");
            group.finish(sums).unwrap();
            let bits = large.view_dtype(Kind::Int).to_kind(Kind::Int64);
            let bits = (bits * Tensor::arange(100_003, (Kind::Int64, Device::Cpu))).sum(Kind::Int64).int64_value(&[]);
            let second = large.double_value(&[1]);
            group.leave().unwrap();
            let total = (1..=size).sum::<usize>() as f64;
            assert!((second - 0.37_f64.sin() * total).abs() < 1e-5, "{second}");
            assert_eq!(numbers(&strided), [total, -total, 0.0, size as f64]);
            assert_eq!(numbers(&largest), [0.0, size as f64 - 1.0, 9.0]);
            assert_eq!(started.map(|tensor| numbers(&tensor)), [vec![total], vec![total, -total]]);
            bits.to_string()
        });
        if let Some(all) = all {
            assert!(all.iter().all(|bits| *bits == all[0]), "{all:?}");
        }
    }
}

#[test]
fn every_rank_receives_what_rank_0_broadcasts() {
    let all = in_a_group("every_rank_receives_what_rank_0_broadcasts", 3, |group| {
        let mut tensor = Tensor::from_slice(&[group.rank() as f32 + 5.0]);
        group.broadcast(&mut tensor).unwrap();
        let bytes = group.broadcast_bytes(if group.is_main() { b"the plan".to_vec() } else { Vec::new() }).unwrap();
        let nothing = group.broadcast_bytes(Vec::new()).unwrap();
        let table = group.all_gather(&[group.rank() as i64, -7]).unwrap();
        group.leave().unwrap();
        format!("{:?} {} {nothing:?} {table:?}", numbers(&tensor), String::from_utf8(bytes).unwrap())
    });
    if let Some(all) = all {
        assert_eq!(all, ["[5.0] the plan [] [[0, -7], [1, -7], [2, -7]]"; 3]);
    }
}

#[test]
fn a_rank_that_fails_is_named_with_its_reason() {
    let errors = in_a_group("a_rank_that_fails_is_named_with_its_reason", 3, |group| {
        if group.rank() == 2 {
            group.abort("the disk is full");
            return String::new();
        }
        group.barrier().unwrap_err().to_string()
    });
    if let Some(errors) = errors {
        assert_eq!(errors[..2], ["process 2: the disk is full", "process 2: the disk is full"]);
    }
}

/// Processes that find each other through the loopback address listen only there.
#[cfg(target_os = "linux")]
#[test]
fn a_group_on_one_machine_cannot_be_reached_from_outside() {
    let addresses = in_a_group("a_group_on_one_machine_cannot_be_reached_from_outside", 2, |group| {
        let port = std::env::var("MASTER_PORT").unwrap();
        let at = format!(":{:04X} ", port.parse::<u16>().unwrap());
        let sockets =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
        const LISTENS: &str = " 0A ";
        let listening = sockets.iter().flat_map(|table| table.lines()).filter(|line| line.contains(LISTENS));
        let local = listening.filter_map(|line| line.split_whitespace().nth(1).filter(|_| line.contains(&at)));
        let local: Vec<&str> = local.filter_map(|address| address.split(':').next()).collect();
        let addresses = format!("{local:?}");
        group.barrier().unwrap();
        group.leave().unwrap();
        addresses
    });
    if let Some(addresses) = addresses {
        assert_eq!(addresses, [r#"["0100007F"]"#; 2]); // 127.0.0.1, as the system writes it
    }
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
        launcher_hosts_store: false,
        attempt: 0,
    };
    let group = ProcessGroup::join(world).unwrap();
    let mut tensor = Tensor::from(3.5);
    group.sum(&mut [&mut tensor]).unwrap();
    assert_eq!((tensor.double_value(&[]), group.all_gather(&[4]).unwrap()), (3.5, vec![vec![4]]));
    assert!(group.is_main() && group.is_local_main());
    drop(group.busy());
    group.leave().unwrap();
}

/// NCCL for a group of one process.
#[cfg(nb_nccl)]
fn open_nccl() -> Result<Backend, String> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = StoreAddress { host: "127.0.0.1", port, hosted_by: StoreHost::This, prefix: "nccl" };
    let store = Store::open(&at, RENDEZVOUS).unwrap();
    Backend::nccl(&store, 0, 1, RENDEZVOUS)
}

#[cfg(nb_nccl)]
#[test]
fn nccl_refuses_a_machine_without_a_gpu() {
    if !tch::Cuda::is_available() {
        assert!(open_nccl().unwrap_err().contains("no GPUs found"));
    }
}

#[test]
fn a_gpus_tensors_go_through_nccl() {
    if nb_testing::require("gpu", cfg!(nb_nccl) && tch::Cuda::is_available()) {
        #[cfg(nb_nccl)]
        sum_and_broadcast_through_nccl();
    }
}

#[cfg(nb_nccl)]
fn sum_and_broadcast_through_nccl() {
    let nccl = open_nccl().unwrap();
    let tensor = Tensor::from_slice(&[1.5_f32, -2.0]).to_device(Device::Cuda(0));
    for pending in [nccl.all_reduce(&tensor, Reduce::Sum), nccl.broadcast(&tensor)] {
        let pending = pending.unwrap();
        while !pending.wait(exchange::SLICE).unwrap() {}
    }
    assert_eq!(numbers(&tensor.to_device(Device::Cpu)), [1.5, -2.0]);
}

#[test]
fn a_failed_check_ends_the_wait_for_the_others() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World {
        rank: 0,
        size: 2,
        local_rank: 0,
        local_size: 2,
        host: "127.0.0.1".to_owned(),
        port,
        launcher_hosts_store: false,
        attempt: 0,
    };
    let mut checks = 0;
    let error = ProcessGroup::join_while(world, || {
        checks += 1;
        if checks < 3 { Ok(()) } else { Err("process 1 has ended".to_owned()) }
    });
    let text = error.unwrap_err().to_string();
    assert_eq!(text, format!("process 0 of 2 did not reach the others through 127.0.0.1:{port}: process 1 has ended"));
}
