//! `explain`: what a policy would do to a call, from the files alone.

use std::{net::IpAddr, path::PathBuf, process::ExitCode, time::SystemTime};

use clap::builder::PossibleValuesParser;
use prost::Message as _;
use uuid::Uuid;

use super::{
    EXIT_BASE, Failure, env, message, print,
    trial::{Attempt, Bench, Given, PROTOCOL, REQUEST, Told, Untold},
    verdict::Shown,
};
use crate::{
    call::{OrgId, Scope, SubjectId},
    config::Config,
    connect::json::to_json,
    error::{Code, Detail as _, code_name},
    policy::Policy,
    proto::prebuildgateway::v1::Verdict,
    rpc::{Schema, methods},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration, with the policy that it names. Its credentials have to be there, as for `check`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Who calls: an org of the configuration, and any subject.
    #[arg(long = "as", value_name = "ORG/SUBJECT", value_parser = caller)]
    caller: (OrgId, SubjectId),
    #[arg(value_parser = PossibleValuesParser::new(methods().map(|method| method.name)))]
    method: String,
    /// The request message.
    #[arg(value_name = "JSON", default_value = "{}")]
    request: String,
    /// What the caller's credential is good for; may stand several times. Default: read, mutate and secret.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    #[command(flatten)]
    object: Given,
    /// The address that the caller connects from. Default: none is known.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// When it calls, like 2026-07-24T06:00:00Z. Default: now.
    #[arg(long, value_name = "RFC3339", value_parser = humantime::parse_rfc3339)]
    time: Option<SystemTime>,
    /// The call's id, which draws the shares of rules that are for some calls only. Default: always the same one.
    #[arg(long, value_name = "UUID", default_value_t = REQUEST)]
    request_id: Uuid,
    /// Print the verdict as JSON, as a dry run's detail has it.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config).map_err(Failure::config)?;
    let resolved = config.resolve(&env).map_err(Failure::config)?;
    let bench = Bench::new(Policy::new(resolved.policy), &resolved.config);
    let is_json = args.json;
    let told = bench.judge(args.attempt()?).await.map_err(|untold| match untold {
        Untold::Org(_) | Untold::Object(_) => Failure::usage(untold),
        Untold::Request | Untold::Failed(_) => Failure::new(untold.to_string()),
    })?;
    let verdict = &told.judged.verdict;
    if is_json {
        print(format_args!("{}\n", json(verdict)?))?;
    } else {
        print(shown(&told))?;
    }
    let code = verdict.refusal.as_ref().map(|refusal| EXIT_BASE + code(&refusal.code));
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// `acme/ci`
pub(super) fn caller(text: &str) -> Result<(OrgId, SubjectId), String> {
    let (org, subject) = text.split_once('/').ok_or("must be ORG/SUBJECT")?;
    let subject = SubjectId::from(subject);
    if !subject.is_printable() {
        return Err("the subject must be 1 to 255 printable ASCII characters".to_owned());
    }
    Ok((org.into(), subject))
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// The number that a verdict has by name.
fn code(name: &str) -> u8 {
    // The codes of gRPC are 0 to 16.
    (0..=16).find(|code| code_name(Code::from_i32(i32::from(*code))) == name).unwrap_or_default()
}

fn json(verdict: &Verdict) -> Result<String, Failure> {
    let broken = || Failure::new("the verdict cannot be written");
    let schema = Schema::gitpod();
    let message = schema.message(Verdict::NAME).ok_or_else(broken)?;
    let json = to_json(schema, message, &verdict.encode_to_vec()).map_err(|_| broken())?;
    String::from_utf8(json).map_err(|_| broken())
}

/// What a verdict says, and what it leaves open.
fn shown(told: &Told) -> String {
    let mut text = Shown(&told.judged.verdict).to_string();
    // Those of rules stand with their rulings.
    if told.judged.verdict.rulings.iter().all(|ruling| ruling.field.is_empty()) {
        for violation in &told.judged.fields {
            text += &format!("  field    {} {}\n", violation.field, violation.description);
        }
    }
    if !told.uncounted.is_empty() {
        text += &format!("not counted here: {}\n", told.uncounted.join(", "));
    }
    text
}

impl Args {
    fn attempt(self) -> Result<Attempt, Failure> {
        // clap has let through only names of the table.
        let method = methods().find(|method| method.name == self.method);
        let method = method.ok_or_else(|| Failure::usage("no such method"))?;
        let (org, subject) = self.caller;
        Ok(Attempt {
            org,
            subject,
            scopes: if self.scopes.is_empty() { Attempt::all_scopes() } else { self.scopes },
            method,
            request: message::read(method, &self.request).map_err(Failure::usage)?,
            object: self.object.object(method).map_err(Failure::usage)?,
            client: self.client,
            protocol: PROTOCOL,
            time: self.time,
            id: self.request_id,
        })
    }
}
