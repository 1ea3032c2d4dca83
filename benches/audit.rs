//! What it takes to verify a log, in records and bytes a second: `cargo bench --bench audit`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot begin has nothing to measure")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prebuild_gateway::audit::{
    read::Instance,
    verify::{Trust, verify},
};
use tempfile::tempdir;

#[path = "../tests/audit/forge.rs"]
#[expect(dead_code, reason = "tests do more with a log")]
mod forge;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough that a run takes a good part of a second.
const CALLS: usize = 50_000;
/// At the rate at which a log can be verified there are far fewer records between two checkpoints.
const CALLS_A_CHECKPOINT: usize = 500;
const CALLS_A_FILE: usize = 20_000;
/// Makes records as long as real ones: some 1.2 KB.
const PADDING: usize = 620;

fn audit(criterion: &mut Criterion) {
    let mut forge = forge::Forge::new("gateway-0");
    forge.padding = PADDING;
    for call in 1..=CALLS {
        forge.call();
        if call % CALLS_A_CHECKPOINT == 0 {
            forge.checkpoint();
        }
        if call % CALLS_A_FILE == 0 {
            forge.segment();
        }
    }
    let directory = tempdir().unwrap();
    forge.store(directory.path());
    let instance = &Instance::all(directory.path()).unwrap()[0];
    let run = || verify(instance, &Trust::Beside, &[]).unwrap();
    let report = run();
    assert_eq!((report.fault, report.records), (None, forge.next()));
    eprintln!("{} records of {} bytes", report.records, report.bytes / report.records);
    let mut group = criterion.benchmark_group("audit");
    group.sample_size(10);
    group.throughput(Throughput::ElementsAndBytes { elements: report.records, bytes: report.bytes });
    group.bench_function("verify", |bencher| bencher.iter(run));
    group.finish();
}

criterion_group!(benches, audit);
criterion_main!(benches);
