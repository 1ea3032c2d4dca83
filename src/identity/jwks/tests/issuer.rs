//! An issuer's server for its keys, which counts who asks.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An issuer that counts who asks for its keys.
pub(crate) struct Issuer {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
    /// The whole answer; none for no answer at all.
    answer: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    pub(crate) async fn start(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::<AtomicUsize>::default(), Arc::new(Mutex::new(answer)));
        let (count, said) = (asked.clone(), answer.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let said = said.lock().unwrap().clone();
                tokio::spawn(answered(stream, said));
            }
        });
        Self { url, asked, answer }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn says(&self, answer: Option<String>) {
        *self.answer.lock().unwrap() = answer;
    }
}

async fn answered(mut stream: TcpStream, said: Option<String>) {
    let mut request = [0; 4096];
    let Ok(_) = stream.read(&mut request).await else { return };
    match said {
        Some(said) => {
            let _ended = stream.write_all(said.as_bytes()).await;
            let _ended = stream.shutdown().await;
        }
        None => pending().await,
    }
}

/// An answer that says this.
pub(crate) fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}
