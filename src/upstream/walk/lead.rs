//! How a page of a narrowed list says that it goes on: with the gateway's token in place of upstream's.

use super::{course::Course, token::Place};
use crate::{
    call::Reply,
    connect::json::{member, to_json},
    error::{Error, Reason},
    rpc::MethodSpec,
};

/// The page, leading on to `next`. Of a list that is not narrowed upstream has said it all.
///
/// # Errors
/// The answer is not what it was when it was read.
pub(super) fn on(
    method: &'static MethodSpec,
    reply: Reply,
    course: &Course,
    next: Option<&Place>,
) -> Result<Reply, Error> {
    if course.is_plain() || (next.is_none() && reply.seen.next.is_none()) {
        return Ok(reply);
    }
    let token = match next {
        Some(next) => Some(course.seal(next).ok_or_else(|| Error::refuse(Reason::Internal))?),
        None => None,
    };
    let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
    let wire = method.lead(&reply.wire, token.as_deref()).map_err(|error| invalid().with_source(error))?;
    let output = method.output().ok_or_else(invalid)?;
    // A text that the token cannot be put into must not go on with upstream's: it is written anew.
    let json = match text(method, &reply.json, token.as_deref()) {
        Some(json) => json.into_bytes(),
        None => to_json((method.schema)(), output, &wire).map_err(|error| invalid().with_source(error))?,
    };
    let seen = method.view(&wire).map_err(|error| invalid().with_source(error))?;
    Ok(Reply { json: json.into(), wire, seen, ..reply })
}

/// `None` if the text says in no plain way how the list goes on.
fn text(method: &MethodSpec, json: &[u8], token: Option<&str>) -> Option<String> {
    let (pagination, next_token) = method.paged()?;
    let token = token.map(serde_json::to_string).transpose().ok()?;
    let led = member(std::str::from_utf8(json).ok()?, pagination, |page| {
        let page = page.filter(|page| *page != "null").unwrap_or("{}");
        let page = member(page, next_token, |_| Ok(token.as_deref().map(Into::into)))?;
        Ok(Some(page.into()))
    });
    led.ok()
}
