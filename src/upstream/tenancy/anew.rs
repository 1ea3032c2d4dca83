//! Answers whose text is written anew: it may tell more than what was judged.

use http::HeaderMap;

use crate::{
    call::Reply,
    connect::json::to_json,
    error::{Error, Reason},
    rpc::MethodSpec,
};

/// The list with the objects that `keep` says, by position. Whatever else came with it came with the others, too: it
/// may count them, or name the last of them.
///
/// # Errors
/// The answer is not what it was when it was read.
pub(in crate::upstream) fn list(
    method: &'static MethodSpec,
    reply: Reply,
    keep: &[bool],
) -> Result<Reply, Error> {
    let wire = method.retain(&reply.wire, keep).map_err(|error| invalid().with_source(error))?;
    let seen = method.view(&wire).map_err(|error| invalid().with_source(error))?;
    let (metadata, trailers) = (HeaderMap::new(), HeaderMap::new());
    known(method, Reply { wire, seen, metadata, trailers, ..reply })
}

/// What the schema knows of the answer: nobody can judge the rest.
///
/// # Errors
/// The answer is not what it was when it was read.
pub(in crate::upstream) fn known(method: &'static MethodSpec, reply: Reply) -> Result<Reply, Error> {
    let output = method.output().ok_or_else(invalid)?;
    // Upstream's order of the members is its own.
    let wire = method.recode(&reply.wire).map_err(|error| invalid().with_source(error))?;
    let json = to_json((method.schema)(), output, &wire).map_err(|error| invalid().with_source(error))?;
    Ok(Reply { json: json.into(), wire, ..reply })
}

fn invalid() -> Error {
    Error::refuse(Reason::UpstreamInvalidResponse)
}
