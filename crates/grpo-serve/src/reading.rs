//! Bodies of requests, and answers that are written as they come.

use std::io::{self, Read, Write};

use serde_json::Value;
use tiny_http::Request;

use crate::ApiError;

/// The largest body, in bytes.
const MOST: u64 = 16 << 20;

/// The body of a request.
pub(crate) fn body(request: &mut Request) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    let read = request.as_reader().take(MOST + 1).read_to_end(&mut body);
    read.map_err(|error| ApiError::bad(format!("the body did not arrive: {error}")))?;
    if body.len() as u64 > MOST {
        return Err(ApiError::new(413, format!("the body has more than {MOST} bytes")));
    }
    Ok(body)
}

/// An answer of server-sent events, in chunks of HTTP/1.1: tiny_http would keep them back until 8 KiB are full.
pub(crate) struct Events {
    writer: Box<dyn Write + Send>,
}

impl Events {
    pub(crate) fn begin(request: Request) -> io::Result<Self> {
        let mut writer = request.into_writer();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes())?;
        Ok(Self { writer })
    }

    /// Sends an event; an error if the client has gone.
    pub(crate) fn send(&mut self, event: &Value) -> io::Result<()> {
        self.chunk(&format!("data: {event}\n\n"))
    }

    /// Ends the stream as OpenAI does.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.chunk("data: [DONE]\n\n")?;
        self.close()
    }

    /// Ends the stream with an error.
    pub(crate) fn fail(mut self, error: &ApiError) -> io::Result<()> {
        self.send(&error.body())?;
        self.close()
    }

    fn chunk(&mut self, text: &str) -> io::Result<()> {
        write!(self.writer, "{:x}\r\n{text}\r\n", text.len())?;
        self.writer.flush()
    }

    fn close(mut self) -> io::Result<()> {
        self.writer.write_all(b"0\r\n\r\n")?;
        self.writer.flush()
    }
}
