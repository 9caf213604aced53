//! The least of Redis' protocol: commands in, text out. For what the bench itself puts there or asks.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

/// A connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects and shows the password.
    ///
    /// # Errors
    /// Where nobody listens or the password is wrong.
    pub fn open(address: SocketAddr, password: &str) -> io::Result<Self> {
        let mut client = Self(BufReader::new(TcpStream::connect(address)?));
        client.ask(&["AUTH", password])?;
        Ok(client)
    }

    /// One command; its answer where that is text or a number, or nothing.
    ///
    /// # Errors
    /// Where Redis refuses it.
    pub fn ask(&mut self, command: &[&str]) -> io::Result<Option<String>> {
        self.send(command)?;
        self.answer()
    }

    /// Many commands in one go, of which only failures are of interest.
    ///
    /// # Errors
    /// The first refusal.
    pub fn ask_all<'a>(&mut self, commands: impl IntoIterator<Item = Vec<&'a str>>) -> io::Result<()> {
        let mut sent = 0;
        for command in commands {
            self.send(&command)?;
            sent += 1;
        }
        (0..sent).try_for_each(|_| self.answer().map(drop))
    }

    /// The numbers of a section of `INFO` whose names begin so, e.g. `cmdstat_` or `used_memory`: name and what stands
    /// behind the colon.
    ///
    /// # Errors
    /// Where Redis doesn't say.
    pub fn info(&mut self, section: &str) -> io::Result<Vec<(String, String)>> {
        let text = self.ask(&["INFO", section])?.unwrap_or_default();
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }

    fn send(&mut self, command: &[&str]) -> io::Result<()> {
        let mut text = format!("*{}\r\n", command.len());
        for part in command {
            text += &format!("${}\r\n{part}\r\n", part.len());
        }
        self.0.get_mut().write_all(text.as_bytes())
    }

    fn answer(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let bad = |said: &str| io::Error::other(format!("Redis said {said}"));
        match line.split_at_checked(1) {
            Some(("+" | ":", text)) => Ok(Some(text.to_owned())),
            Some(("$", "-1")) => Ok(None),
            Some(("$", length)) => {
                let mut bytes = vec![0; length.parse::<usize>().map_err(|_| bad(line))? + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Err(bad(line)),
        }
    }
}
