//! The log in a PostgreSQL database.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use mlops_core::{BoxFuture, Error, ErrorKind, Result};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};

use super::{Appended, CHECKPOINTS_KEPT, Capabilities, Log, Reach, SCRATCH, address, not_scratch};

/// A log in a table of a PostgreSQL database, which may hold many registries by name.
///
/// A lost connection is made again by itself. For a pool, credentials that change or client certificates a host says
/// how to connect ([`connect_with`](Self::connect_with)). On every new connection `synchronous_commit` is turned on,
/// and a statement that takes over 30 s is given up.
#[derive(Clone, Debug)]
pub struct PostgresLog {
    connection: Arc<Connection>,
    registry: String,
}

struct Connection {
    connect: Box<dyn Fn() -> BoxFuture<'static, Result<Client>> + Send + Sync>,
    client: ArcSwapOption<Client>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("client", &self.client).finish_non_exhaustive()
    }
}

impl PostgresLog {
    /// Connects to `postgres://user:password@host/database` and makes the tables if they do not exist. Wants a tokio
    /// runtime, as all of its methods do. Gives up after 10 s unless the address says `connect_timeout`.
    ///
    /// With `?sslmode=verify-full` it speaks TLS (feature `postgres-tls`): the server's certificate has to bear the
    /// host's name and to be signed by a root of the system, or by one of those in a PEM file that
    /// `&sslrootcert=/path` names. `require` and `verify-ca` mean the same here. Without it, or with `disable`, it does
    /// not; `prefer` and `allow`, by which a server could talk it out of TLS, are refused.
    ///
    /// # Errors
    /// `Invalid` if the address or the roots are none, `Unsupported` if the server refuses the user or TLS needs the
    /// feature, `Unavailable` if the server is out of reach or its certificate is not trusted.
    pub async fn connect(address: &str, registry: &str) -> Result<Self> {
        Self::connect_or_make(address, registry, true).await
    }

    /// Connects as [`connect`](Self::connect) does, and makes no tables.
    ///
    /// # Errors
    /// As there, and `NotFound` if the database has not the tables.
    pub async fn connect_existing(address: &str, registry: &str) -> Result<Self> {
        Self::connect_or_make(address, registry, false).await
    }

    async fn connect_or_make(address: &str, registry: &str, make: bool) -> Result<Self> {
        let (mut config, root) = config(address)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        if config.get_ssl_mode() != SslMode::Require {
            if let Some(root) = root {
                return Err(Error::invalid(format!(
                    "`sslrootcert={root}` needs `sslmode=verify-full` beside it"
                )));
            }
            return Self::connect_by(config, NoTls, registry, make).await;
        }
        #[cfg(feature = "postgres-tls")]
        return Self::connect_by(config, super::tls::connector(root.as_deref())?, registry, make).await;
        #[cfg(not(feature = "postgres-tls"))]
        Err(Error::unsupported("`sslmode=verify-full`: build mlops-registry with its feature `postgres-tls`"))
    }

    async fn connect_by<T>(config: Config, tls: T, registry: &str, make: bool) -> Result<Self>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connect = move || -> BoxFuture<'static, Result<Client>> {
            let (config, tls) = (config.clone(), tls.clone());
            Box::pin(async move {
                let (client, connection) =
                    config.connect(tls).await.map_err(|error| failed("connect to", error))?;
                // It ends by itself when the client is dropped; what goes wrong on it, the client's calls tell.
                tokio::spawn(async move {
                    let _ = connection.await;
                });
                Ok(client)
            })
        };
        Self::on(connect, registry).prepared(make).await
    }

    /// A log on connections that the host makes and drives; it is asked again when one is lost.
    ///
    /// ```no_run
    /// # async fn host(config: tokio_postgres::Config) -> mlops_core::Result<()> {
    /// use mlops_core::Error;
    /// use mlops_registry::log::PostgresLog;
    ///
    /// let connect = move || -> mlops_core::BoxFuture<'static, mlops_core::Result<tokio_postgres::Client>> {
    ///     let config = config.clone();
    ///     Box::pin(async move {
    ///         // In place of `NoTls`: any connector, such as that of `postgres-native-tls`.
    ///         let (client, connection) = config
    ///             .connect(tokio_postgres::NoTls)
    ///             .await
    ///             .map_err(|error| Error::unavailable("cannot connect").with_source(error))?;
    ///         tokio::spawn(async move { drop(connection.await) });
    ///         Ok(client)
    ///     })
    /// };
    /// let log = PostgresLog::connect_with(connect, "default").await?;
    /// # drop(log);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` if the user may not make tables, `Unavailable` if the server is out of reach.
    pub async fn connect_with(
        connect: impl Fn() -> BoxFuture<'static, Result<Client>> + Send + Sync + 'static,
        registry: &str,
    ) -> Result<Self> {
        Self::on(connect, registry).prepared(true).await
    }

    fn on(
        connect: impl Fn() -> BoxFuture<'static, Result<Client>> + Send + Sync + 'static,
        registry: &str,
    ) -> Self {
        let connection = Connection { connect: Box::new(connect), client: ArcSwapOption::empty() };
        Self { connection: Arc::new(connection), registry: registry.to_owned() }
    }

    /// The log of another registry in the same database, by its name, on the same connection.
    #[must_use]
    pub fn named(mut self, registry: &str) -> Self {
        registry.clone_into(&mut self.registry);
        self
    }

    async fn prepared(self, make: bool) -> Result<Self> {
        let client = self.client().await?;
        if !make {
            let found = client
                .query_one(
                    "SELECT to_regclass('mlops_entry') IS NOT NULL AND to_regclass('mlops_checkpoint') IS NOT NULL",
                    &[],
                )
                .await
                .map_err(|error| failed("read from", error))?;
            return if found.get(0) {
                Ok(self)
            } else {
                Err(Error::not_found(
                    "there is no registry in the PostgreSQL database: check the address, or open it so that one is made",
                ))
            };
        }
        // Two that make a table at once collide in the catalogue, so one waits for the other.
        client
            .batch_execute(
                "BEGIN;
                 SELECT pg_advisory_xact_lock(7239871203);
                 CREATE TABLE IF NOT EXISTS mlops_entry (
                     registry TEXT NOT NULL, sequence BIGINT NOT NULL, entry BYTEA NOT NULL,
                     PRIMARY KEY (registry, sequence));
                 CREATE TABLE IF NOT EXISTS mlops_checkpoint (
                     registry TEXT NOT NULL, sequence BIGINT NOT NULL, state BYTEA NOT NULL,
                     PRIMARY KEY (registry, sequence));
                 COMMIT;",
            )
            .await
            .map_err(|error| failed("make the tables of", error))?;
        Ok(self)
    }

    async fn client(&self) -> Result<Arc<Client>> {
        if let Some(client) = self.connection.client.load_full().filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let client = (self.connection.connect)().await?;
        client
            .batch_execute("SET synchronous_commit = on; SET statement_timeout = '30s'")
            .await
            .map_err(|error| failed("set up", error))?;
        let client = Arc::new(client);
        self.connection.client.store(Some(client.clone()));
        Ok(client)
    }
}

impl Log for PostgresLog {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Reach::Network)
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            let client = self.client().await?;
            let created = client
                .execute(
                    "INSERT INTO mlops_entry (registry, sequence, entry) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    &[&self.registry, &number(sequence), &&entry[..]],
                )
                .await
                .map_err(|error| failed("write to", error))?;
            Ok(if created == 1 { Appended::Created } else { Appended::Taken })
        })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(async move {
            let rows = self
                .client()
                .await?
                .query(
                    "SELECT sequence, entry FROM mlops_entry WHERE registry = $1 AND sequence >= $2
                     ORDER BY sequence LIMIT $3",
                    &[&self.registry, &number(from), &i64::try_from(count_max).unwrap_or(i64::MAX)],
                )
                .await
                .map_err(|error| failed("read from", error))?;
            let in_order =
                rows.iter().zip(number(from)..).take_while(|(row, want)| row.get::<_, i64>(0) == *want);
            Ok(in_order.map(|(row, _)| Bytes::copy_from_slice(row.get(1))).collect())
        })
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async move {
            let row = self
                .client()
                .await?
                .query_one(
                    "SELECT max(sequence) FROM mlops_entry WHERE registry = $1 AND sequence > $2",
                    &[&self.registry, &number(above)],
                )
                .await
                .map_err(|error| failed("read from", error))?;
            Ok(row.get::<_, Option<i64>>(0).map(i64::unsigned_abs))
        })
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.client()
                .await?
                .execute(
                    "INSERT INTO mlops_checkpoint (registry, sequence, state) VALUES ($1, $2, $3)
                     ON CONFLICT (registry, sequence) DO UPDATE SET state = excluded.state",
                    &[&self.registry, &number(sequence), &&state[..]],
                )
                .await
                .map_err(|error| failed("write to", error))?;
            self.client()
                .await?
                .execute(
                    "DELETE FROM mlops_checkpoint WHERE registry = $1 AND sequence < $2 AND sequence NOT IN (
                         SELECT sequence FROM mlops_checkpoint WHERE registry = $1 AND sequence <= $2
                         ORDER BY sequence DESC LIMIT $3)",
                    &[&self.registry, &number(sequence), &number(CHECKPOINTS_KEPT as u64)],
                )
                .await
                .map_err(|error| failed("write to", error))?;
            Ok(())
        })
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        Box::pin(async move {
            let found = self
                .client()
                .await?
                .query_opt(
                    "SELECT sequence, state FROM mlops_checkpoint WHERE registry = $1 AND sequence < $2
                     ORDER BY sequence DESC LIMIT 1",
                    &[&self.registry, &number(before)],
                )
                .await
                .map_err(|error| failed("read from", error))?;
            Ok(found.map(|row| (row.get::<_, i64>(0).unsigned_abs(), Bytes::copy_from_slice(row.get(1)))))
        })
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        Arc::new(Self { registry: format!("{SCRATCH}{name}"), ..self.clone() })
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if !self.registry.starts_with(SCRATCH) {
                return Err(not_scratch());
            }
            let client = self.client().await?;
            for table in ["mlops_entry", "mlops_checkpoint"] {
                client
                    .execute(&format!("DELETE FROM {table} WHERE registry = $1"), &[&self.registry])
                    .await
                    .map_err(|error| failed("write to", error))?;
            }
            Ok(())
        })
    }
}

/// An address as the driver takes it, and the file of roots that it names.
fn config(address: &str) -> Result<(Config, Option<String>)> {
    let (address, root) = address::parse(address)?;
    let config = address.parse().map_err(|error| {
        Error::invalid("the address is none of PostgreSQL: want postgres://user:password@host/database")
            .with_source(error)
    })?;
    Ok((config, root))
}

/// Where an address leads, for people: neither user nor password.
pub(crate) fn place(address: &str) -> Result<String> {
    let (config, _) = config(address)?;
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(folder) => folder.display().to_string(),
    };
    let mut hosts: Vec<_> = config.get_hosts().iter().map(host).collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    // One port stands for all hosts.
    let ports = config.get_ports();
    for (index, host) in hosts.iter_mut().enumerate() {
        if let Some(port) = ports.get(index).or(ports.last()).filter(|port| **port != 5432) {
            host.push_str(&format!(":{port}"));
        }
    }
    Ok(format!("database `{database}` on {}", hosts.join(", ")))
}

/// PostgreSQL's integers are signed; no log gets that long.
fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

#[cold]
fn failed(verb: &str, error: tokio_postgres::Error) -> Error {
    let refused = [
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    let (kind, way_out) = match error.code() {
        Some(code) if refused.contains(code) => {
            (ErrorKind::Unsupported, "the server refuses this user; give the right or take another user")
        }
        Some(&SqlState::DISK_FULL) => {
            (ErrorKind::Unavailable, "its disk is full; free some space and run again")
        }
        Some(&SqlState::UNDEFINED_DATABASE) => {
            (ErrorKind::Invalid, "there is no such database; make it or name another")
        }
        _ => (ErrorKind::Unavailable, "the server does not answer as it should; try again later"),
    };
    Error::new(kind, format!("cannot {verb} the registry's PostgreSQL: {way_out}")).with_source(error)
}

const CONNECT_MAX: Duration = Duration::from_secs(10);
