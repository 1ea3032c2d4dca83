//! One connection, to a server or to a cluster.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Script, TlsCertificates, Value, aio::MultiplexedConnection,
    cluster::ClusterClientBuilder, cluster_async::ClusterConnection,
};

use super::{Fault, Server};

/// A server that takes longer to greet would not answer in time either.
const CONNECT: Duration = Duration::from_secs(1);
/// Calls that wait for their turn to be written: as many as may be in flight on a large gateway.
const QUEUE: usize = 4096;
/// A cluster may move an org's slot: the second server that is asked has it.
const REDIRECTS: u32 = 1;
/// Everything that the scripts of limits use, and with it what a good server lets this user do.
const TRIAL: &str = "redis.call('TIME'); redis.call('INFO', 'server'); \
                     return redis.call('HSET', KEYS[1], 'tried', ARGV[1]) + redis.call('PEXPIRE', KEYS[1], 60000)";

pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn connect(server: &Server) -> Result<Self, Fault> {
        let connecting = tokio::time::timeout(CONNECT, Self::make(server));
        connecting.await.unwrap_or(Err(Fault::Timeout))
    }

    async fn make(server: &Server) -> Result<Self, Fault> {
        let tls = server.ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        let fault = |error| Fault::of(&error);
        if server.cluster {
            let mut builder = ClusterClientBuilder::new(server.nodes.iter().cloned())
                .retries(REDIRECTS)
                .connection_timeout(CONNECT)
                .response_timeout(CONNECT);
            if let Some(tls) = tls {
                builder = builder.certs(tls);
            }
            let client = builder.build().map_err(fault)?;
            return Ok(Self::Cluster(client.get_async_connection().await.map_err(fault)?));
        }
        let node = server.nodes.first().ok_or(Fault::Down)?.clone();
        let client = match tls {
            Some(tls) => Client::build_with_tls(node, tls),
            None => Client::open(node),
        };
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let client = client.map_err(fault)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&settings);
        Ok(Self::One(connecting.await.map_err(fault)?))
    }

    pub(super) async fn run(&self, script: &Script, key: &str, arguments: &[String]) -> Result<Value, Fault> {
        let mut call = script.prepare_invoke();
        call.key(key);
        for argument in arguments {
            call.arg(argument);
        }
        let answer = match self {
            Self::One(connection) => call.invoke_async(&mut connection.clone()).await,
            Self::Cluster(connection) => call.invoke_async(&mut connection.clone()).await,
        };
        answer.map_err(|error| Fault::of(&error))
    }

    /// Does on the server what a limit would.
    pub(super) async fn try_out(&self, key: &str, within: Duration) -> Result<(), Fault> {
        let (script, argument) = (Script::new(TRIAL), ["1".to_owned()]);
        let trial = tokio::time::timeout(within, self.run(&script, key, &argument)).await;
        match trial.unwrap_or(Err(Fault::Timeout))? {
            Value::Int(_) => Ok(()),
            _ => Err(Fault::Garbage),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster(_) => "Cluster",
        })
    }
}
