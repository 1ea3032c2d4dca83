//! A store of objects, S3's or like it: each segment that is closed is put there as one object.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};

use super::{SinkError, aside};
use crate::audit::read::{Begin, Line, Lines, ReadError, Segment};

/// An object is put in parts of this size: S3 takes none below 5 MiB but the last. Bounds the memory.
const PART: usize = 8 << 20;

/// Where segments are put.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Before `<instance>/<segment>`.
    pub(super) prefix: Path,
}

/// A segment in parts, without what is void in it.
#[derive(Debug)]
struct Parts {
    segment: Segment,
    /// None once it was read to its end.
    lines: Option<Lines>,
}

impl Store {
    /// Puts the segment, and the key beside the log that it can be verified with. What is there already is put again: it
    /// is the same.
    ///
    /// # Errors
    /// It cannot be read or put.
    pub(super) async fn put(&self, segment: &Segment, log: &str, key: String) -> Result<(), SinkError> {
        let beside = self.path(log, "key.pub");
        self.store.put(&beside, PutPayload::from(key)).await?;
        let name = segment.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let object = self.path(log, name);
        let mut parts = Parts::of(segment).await?;
        let mut part = parts.next().await?;
        if parts.lines.is_none() {
            self.store.put(&object, PutPayload::from(part)).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&object).await?;
        let put = async {
            while !part.is_empty() {
                upload.put_part(PutPayload::from(part)).await?;
                part = parts.next().await?;
            }
            upload.complete().await?;
            Ok(())
        }
        .await;
        if put.is_err() {
            // Parts that nobody completes cost; where this fails, too, the bucket's lifecycle rule removes them.
            let _kept = upload.abort().await;
        }
        put
    }

    fn path(&self, log: &str, name: &str) -> Path {
        self.prefix.clone().join(log).join(name)
    }
}

impl Parts {
    async fn of(segment: &Segment) -> Result<Self, SinkError> {
        let segment = segment.clone();
        aside(move || Ok(Self { lines: Some(segment.lines()?), segment })).await
    }

    /// Empty at the end.
    async fn next(&mut self) -> Result<Vec<u8>, SinkError> {
        let Some(lines) = self.lines.take() else { return Ok(Vec::new()) };
        let segment = self.segment.clone();
        let (lines, part) = aside(move || Ok(read(&segment, lines)?)).await?;
        self.lines = (part.len() >= PART).then_some(lines);
        Ok(part)
    }
}

fn read(segment: &Segment, mut lines: Lines) -> Result<(Lines, Vec<u8>), ReadError> {
    let mut part = Vec::with_capacity(PART + (64 << 10));
    while part.len() < PART {
        let Line::Record(record) = lines.next()? else { break };
        if Begin::parse(record).is_some_and(|begin| segment.is_void(begin.sequence)) {
            break;
        }
        part.extend_from_slice(record);
        part.push(b'\n');
    }
    Ok((lines, part))
}
