//! What it costs to have every change on stable storage twice, before it is sent and before it is answered, beside the
//! same disk's own fdatasync in the same run; and how soon the log that this makes, of a gigabyte or more, is open again
//! after its process was killed: `cargo bench --bench durable`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a bench that cannot begin has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it is the result")]

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Extensions, HeaderMap};
use prebuild_gateway::{
    audit::{self, Audit, Detail, Intent, Log},
    call::{Call, Context, Deadline, Identity, Line, Reply, RequestId, Scopes},
    error::Error,
    policy::{Authorize, Bind, Edition, Ground, InScope, Permitted, Policy, Texts, WriteDefaults},
    proto::gitpod::v1::{CreatePrebuildRequest, PrebuildSpec},
    rpc::{MethodSpec, Seen, methods},
    rule::Bound,
    stack::stage,
    telemetry::Metrics,
};
use prost::Message as _;
use tokio::{runtime::Builder, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceBuilder, service_fn, util::BoxCloneSyncService};

type Stack = BoxCloneSyncService<Call, Reply, Error>;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const CLIENTS: [usize; 3] = [1, 64, 256];
const LENGTH: Duration = Duration::from_secs(2);
/// As many as take about as long.
const RAW_SYNCS: usize = 1000;
/// Of about one record.
const RAW_BYTES: usize = 1500;
const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";

/// Times, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn at(&self, per_cent: usize) -> Duration {
        self.0.get(self.0.len() * per_cent / 100).copied().unwrap_or_default()
    }
}

/// The disk by itself.
fn raw(directory: &Path) -> Times {
    let path = directory.join("raw");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let bytes = vec![b'x'; RAW_BYTES];
    let times = (0..RAW_SYNCS).map(|_| {
        let begun = Instant::now();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    });
    let times = times.collect();
    std::fs::remove_file(path).unwrap();
    Times::new(times)
}

fn method() -> &'static MethodSpec {
    methods().find(|method| method.name == "CreatePrebuild").unwrap_or_else(|| panic!("no such method"))
}

fn call() -> Call {
    let message = CreatePrebuildRequest {
        project_id: PROJECT.to_owned(),
        spec: Some(PrebuildSpec::default()),
        ..Default::default()
    };
    let (request, facts) =
        method().decode(&message.encode_to_vec()).unwrap_or_else(|error| panic!("{error}"));
    let identity = Identity {
        subject: "ci".into(),
        org: "acme".into(),
        credential: "ci-1".into(),
        scopes: Scopes::all(),
        passed: None,
    };
    let context = Context::new(RequestId::new(), Instant::now(), Some(([127, 0, 0, 1], 40_000).into()));
    context.set_method(method());
    context.set_identity(identity.clone());
    Call {
        method: method(),
        context,
        identity,
        facts,
        request,
        deadline: Deadline::at(Instant::now() + Duration::from_secs(60)),
        metadata: HeaderMap::new(),
        gone: CancellationToken::new(),
        place: None,
        bound: Bound::default(),
        left: Extensions::new(),
    }
}

/// An upstream that answers at once.
async fn answer(_: Permitted<Call>) -> Result<Reply, Error> {
    Ok(Reply {
        json: "{}".into(),
        wire: "".into(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
        line: Line::default(),
    })
}

/// All that is between the call plane's audit stage and upstream.
fn stack(log: &Log, detail: &Detail) -> Stack {
    let ground = Ground { orgs: vec!["acme".into()], in_flight: 4096, ..Ground::default() };
    let edition = Edition::of(&Texts::default(), &ground).unwrap_or_else(|misfit| panic!("{misfit}"));
    let stack = ServiceBuilder::new()
        .layer(stage(Audit::new(log.clone(), detail.clone())))
        .layer(stage(Bind(Policy::new(edition))))
        .layer(stage(InScope))
        .layer(stage(WriteDefaults))
        .layer(stage(Authorize::default()))
        .layer(stage(Intent::new(log.clone(), detail.clone())))
        .service(service_fn(answer));
    BoxCloneSyncService::new(stack)
}

async fn load(stack: &Stack, clients: usize) -> (Times, f64) {
    let (mut tasks, begun) = (JoinSet::new(), Instant::now());
    for _ in 0..clients {
        let mut stack = stack.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < LENGTH {
                let asked = Instant::now();
                stack.call(call()).await.unwrap_or_else(|error| panic!("{error}"));
                times.push(asked.elapsed());
            }
            times
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times.unwrap());
    }
    let per_second = all.len() as f64 / begun.elapsed().as_secs_f64();
    (Times::new(all), per_second)
}

/// Copies the log as a process that is killed leaves it, and says how many bytes in how many files that is.
fn killed(audit: &Path, to: &Path) -> (u64, usize) {
    let instance =
        std::fs::read_dir(audit).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let instance = instance.unwrap_or_else(|| panic!("no log"));
    let copy = to.join(instance.file_name().unwrap());
    std::fs::create_dir_all(&copy).unwrap();
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(instance).unwrap() {
        let file = entry.unwrap().path();
        bytes += std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        files += 1;
    }
    (bytes, files)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // On the disk that the build is on, not in memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = audit::Config::at(directory.path().join("audit"));
    let (raws, measured, killed) = runtime.block_on(async {
        let log = Log::open(&config, Metrics::new()).unwrap_or_else(|error| panic!("{error}"));
        let detail = Detail::of(&config).unwrap_or_else(|error| panic!("{error}"));
        let stack = Arc::new(stack(&log, &detail));
        let (mut raws, mut measured) = (Vec::new(), CLIENTS.map(|_| Vec::new()));
        for _ in 0..ROUNDS {
            let times = raw(directory.path());
            raws.push((millis(times.at(50)), millis(times.at(99))));
            for (clients, measured) in CLIENTS.into_iter().zip(&mut measured) {
                let (times, per_second) = load(&stack, clients).await;
                measured.push((per_second, millis(times.at(50)), millis(times.at(99))));
            }
        }
        let killed = killed(&config.directory, &directory.path().join("killed"));
        log.close().await;
        (raws, measured, killed)
    });
    let (bytes, files) = killed;
    let begun = Instant::now();
    let again = audit::Config::at(directory.path().join("killed"));
    let log = Log::open(&again, Metrics::new()).unwrap_or_else(|error| panic!("{error}"));
    let opened = begun.elapsed();
    runtime.block_on(log.close());
    let of = |pick: fn(&(f64, f64)) -> f64| median(raws.iter().map(pick).collect());
    let (raw, raw_99) = (of(|raw| raw.0), of(|raw| raw.1));
    println!(
        "medians of {ROUNDS} rounds of {LENGTH:?}; a change is two records on stable storage, one after the other"
    );
    println!("fdatasync of {RAW_BYTES} bytes: p50 {raw:.3} ms, p99 {raw_99:.3} ms");
    println!("bound for the p50 of one client: 1.5 x + 0.3 ms = {:.3} ms", 1.5 * raw + 0.3);
    for (clients, rounds) in CLIENTS.into_iter().zip(measured) {
        let of = |pick: fn(&(f64, f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
        let (per_second, p50, p99) = (of(|round| round.0), of(|round| round.1), of(|round| round.2));
        println!(
            "{clients:>4} clients: {per_second:>7.0} changes/s, p50 {p50:.3} ms ({:.3} ms a record, {:.2} x fdatasync), p99 {p99:.3} ms",
            p50 / 2.0,
            p50 / 2.0 / raw
        );
    }
    println!("open again after a kill, with {} MiB in {files} files: {:.0} ms", bytes >> 20, millis(opened));
}
