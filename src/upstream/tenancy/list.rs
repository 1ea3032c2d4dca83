//! A list without some of its objects: what stays is as it came, in both forms.

use crate::{
    call::Reply,
    connect::json::{items, member, to_json},
    error::{Error, Reason},
    rpc::{Field, MethodSpec},
};

/// The answer with the objects that `keep` says, by position.
///
/// # Errors
/// The answer is not what it was when it was read.
pub(super) fn retain(method: &'static MethodSpec, reply: Reply, keep: &[bool]) -> Result<Reply, Error> {
    let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
    let (field, output) = method.listed().zip(method.output()).ok_or_else(invalid)?;
    let wire = method.retain(&reply.wire, keep).map_err(|error| invalid().with_source(error))?;
    // A text that does not show the objects that were judged must not go on: it is written anew.
    let json = match text(&reply.json, field, keep) {
        Some(json) => json,
        None => to_json((method.schema)(), output, &wire).map_err(|error| invalid().with_source(error))?,
    };
    let seen = method.view(&wire).map_err(|error| invalid().with_source(error))?;
    Ok(Reply { json: json.into(), wire, seen, ..reply })
}

/// `None` if the text has another list than the one that was judged.
fn text(json: &[u8], field: &Field, keep: &[bool]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(json).ok()?;
    let mut judged = 0;
    let kept = member(text, field, |list| {
        let kept = items(list.unwrap_or_default(), |index, item| {
            judged += 1;
            Ok(keep.get(index).copied().unwrap_or_default().then(|| item.into()))
        })?;
        Ok(Some(kept.into()))
    });
    kept.ok().filter(|_| judged == keep.len()).map(String::into_bytes)
}
