//! A connection whose other end may not stop reading: what it does not take in time ends it. And one that ends after its answer: as long
//! as there is something that was sent and not read, closing would take the answer back before the client has seen it. So the end waits
//! for that of the client, and who sends on and on is left to it for a moment rather than to begin anew at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long the end waits for that of the client.
const LINGER: Duration = Duration::from_millis(250);
/// What is read of it then, and thrown away: bytes.
const WASTE: usize = 256 << 10;

/// A stream with a limit on how long a write may wait.
pub(super) struct Stall<S> {
    stream: S,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    /// Bytes that came after our end.
    wasted: Option<usize>,
}

impl<S> Stall<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), waiting: false, wasted: None }
    }

    /// What a write that waits comes to.
    fn wait<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + Unpin> Stall<S> {
    /// Waits for the end of the client.
    fn linger(&mut self, cx: &mut Context<'_>, mut wasted: usize) -> Poll<io::Result<()>> {
        let mut waste = [0; 4096];
        while wasted < WASTE {
            let mut buffer = ReadBuf::new(&mut waste);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => wasted += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        self.wasted = Some(wasted);
        self.timer.as_mut().poll(cx).map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wasted = match self.wasted {
            Some(wasted) => wasted,
            None => {
                let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
                ready!(self.wait(cx, ended))?;
                self.timer.as_mut().reset(Instant::now() + LINGER);
                0
            }
        };
        self.linger(cx, wasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    }

    #[test]
    fn who_reads_nothing_is_left() {
        run(async {
            let (near, far) = tokio::io::duplex(1024);
            let mut near = Stall::new(near, Duration::from_millis(30));
            let e = near.write_all(&[0; 4096]).await.unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::TimedOut);
            drop(far);
        });
    }

    #[test]
    fn the_end_waits_for_that_of_the_client_and_not_for_ever() {
        run(async {
            // It closes: that is heard at once, behind all that it still sent.
            let (near, mut far) = tokio::io::duplex(64 << 10);
            let mut near = Stall::new(near, Duration::from_secs(9));
            far.write_all(&[1; 40 << 10]).await.unwrap();
            near.write_all(b"no").await.unwrap();
            let client = tokio::spawn(async move {
                let mut answer = Vec::new();
                far.read_to_end(&mut answer).await.unwrap();
                answer
            });
            let began = Instant::now();
            near.shutdown().await.unwrap();
            assert!(began.elapsed() < LINGER);
            assert_eq!(client.await.unwrap(), b"no");
            // It sends on and on: so much of it is read, and no more.
            let (near, mut far) = tokio::io::duplex(1024);
            let mut near = Stall::new(near, Duration::from_secs(9));
            let client = tokio::spawn(async move {
                let mut sent = 0;
                while far.write_all(&[1; 1024]).await.is_ok() {
                    sent += 1024;
                }
                sent
            });
            let began = Instant::now();
            near.shutdown().await.unwrap();
            assert!(began.elapsed() >= LINGER);
            drop(near);
            assert!(client.await.unwrap() <= WASTE + 8192);
        });
    }

    #[test]
    fn who_reads_slowly_gets_all() {
        run(async {
            let (near, mut far) = tokio::io::duplex(1024);
            let mut near = Stall::new(near, Duration::from_millis(200));
            let reader = tokio::spawn(async move {
                let (mut got, mut piece) = (0, [0; 1024]);
                while got < 10 << 10 {
                    sleep(Duration::from_millis(30)).await;
                    got += far.read(&mut piece).await.unwrap();
                }
                got
            });
            near.write_all(&[0; 10 << 10]).await.unwrap();
            assert_eq!(reader.await.unwrap(), 10 << 10);
        });
    }
}
