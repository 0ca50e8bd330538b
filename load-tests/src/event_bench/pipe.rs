//! A gateway that understands nothing: the least a program between two sockets can cost.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// Copies bytes between every client and a vendor, in one thread, with the system calls and the runtime of any gateway in this
/// language and nothing else. Never returns but with an error.
///
/// # Errors
/// No runtime, or the address cannot be bound.
pub fn serve(listen: SocketAddr, vendor: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            // Who hangs up is of no interest here; the clients notice what is missing.
            tokio::spawn(async move { join(client, vendor).await.ok() });
        }
    })
}

async fn join(mut client: TcpStream, vendor: SocketAddr) -> std::io::Result<()> {
    let mut vendor = TcpStream::connect(vendor).await?;
    client.set_nodelay(true)?;
    vendor.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut vendor).await.map(|_| ())
}
