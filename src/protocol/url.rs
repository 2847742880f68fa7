//! Where a redirect leads (RFC 3986, RFC 9110 section 10.2.2), as far as a probe follows it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address.
    pub host: IpAddr,
    /// 1 to 65535.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

/// Where a redirect leads that is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// To another host.
    Host,
    /// To something that is not asked by plain HTTP.
    Scheme,
    /// Nobody knows: it is no URL.
    Invalid,
}

impl Target {
    /// Where `location`, in an answer from here, leads. Followed is what stays with the same host,
    /// by name, on any port (Kubernetes: the same).
    ///
    /// # Errors
    /// [`Elsewhere`], where it leads to something that is not to be followed.
    pub fn resolve(&self, location: &str) -> Result<Target, Elsewhere> {
        let location = location.split('#').next().unwrap_or_default();
        if !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Elsewhere::Invalid);
        }
        let (authority, path) = match split_scheme(location) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                let rest = rest.strip_prefix("//").ok_or(Elsewhere::Invalid)?;
                split_authority(rest)
            }
            Some(_) => return Err(Elsewhere::Scheme),
            None => match location.strip_prefix("//") {
                Some(rest) => split_authority(rest),
                None => return Ok(Target { path: self.merge(location), ..self.clone() }),
            },
        };
        let (host, port) = parse_authority(authority)?;
        if host != self.host {
            return Err(Elsewhere::Host);
        }
        let path = match path.as_bytes() {
            [b'/', ..] => remove_dots(path),
            _ => format!("/{path}"),
        };
        Ok(Target { host, port, path })
    }

    /// The path that a reference without an authority means here.
    fn merge(&self, reference: &str) -> String {
        let own = self.path.split('?').next().unwrap_or_default();
        match reference.as_bytes() {
            [] => self.path.clone(),
            [b'?', ..] => format!("{own}{reference}"),
            [b'/', ..] => remove_dots(reference),
            [..] => {
                let directory = own.rfind('/').and_then(|at| own.get(..=at)).unwrap_or("/");
                remove_dots(&format!("{directory}{reference}"))
            }
        }
    }
}

/// `scheme:rest`, if it begins with a scheme.
fn split_scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let letter = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let valid = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (letter && valid).then_some((scheme, rest))
}

fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// Names other than `localhost` are of another host: a probe asks an address.
fn parse_authority(authority: &str) -> Result<(IpAddr, u16), Elsewhere> {
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(Elsewhere::Invalid)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        Some("") => 80,
        Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(Elsewhere::Invalid)?,
        None => return Err(Elsewhere::Invalid),
    };
    let host = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else if authority.starts_with('[') {
        IpAddr::V6(host.parse::<Ipv6Addr>().map_err(|_| Elsewhere::Invalid)?)
    } else {
        IpAddr::V4(host.parse::<Ipv4Addr>().map_err(|_| Elsewhere::Host)?)
    };
    Ok((host, port))
}

/// Without `.` and `..` (RFC 3986, section 5.2.4); the query stays as it is.
fn remove_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_on_the_same_host_only() {
        let from = Target { host: "10.0.0.7".parse().unwrap(), port: 8080, path: "/a/b?c=/d".to_owned() };
        for (location, expected) in [
            ("/new", Ok((8080, "/new"))),
            ("/new?x=..#there", Ok((8080, "/new?x=.."))),
            ("new", Ok((8080, "/a/new"))),
            ("../new/./x/..", Ok((8080, "/new/"))),
            ("../../../..", Ok((8080, "/"))),
            ("?e", Ok((8080, "/a/b?e"))),
            ("", Ok((8080, "/a/b?c=/d"))),
            ("#top", Ok((8080, "/a/b?c=/d"))),
            ("http://10.0.0.7:9090/new", Ok((9090, "/new"))),
            ("HTTP://10.0.0.7", Ok((80, "/"))),
            ("http://10.0.0.7?q", Ok((80, "/?q"))),
            ("//user:word@10.0.0.7:/x", Ok((80, "/x"))),
            ("http://10.0.0.8/", Err(Elsewhere::Host)),
            ("http://localhost/", Err(Elsewhere::Host)),
            ("http://app.example/", Err(Elsewhere::Host)),
            ("http://[::1]/", Err(Elsewhere::Host)),
            ("http:///x", Err(Elsewhere::Host)),
            ("https://10.0.0.7/", Err(Elsewhere::Scheme)),
            ("ftp:x", Err(Elsewhere::Scheme)),
            ("http:/x", Err(Elsewhere::Invalid)),
            ("http://10.0.0.7:0/", Err(Elsewhere::Invalid)),
            ("http://10.0.0.7:99999/", Err(Elsewhere::Invalid)),
            ("http://[::1/", Err(Elsewhere::Invalid)),
            ("http://[1]x/", Err(Elsewhere::Invalid)),
            ("/a b", Err(Elsewhere::Invalid)),
            ("/a\r\nB: c", Err(Elsewhere::Invalid)),
        ] {
            let found = from.resolve(location);
            let found = found.map(|target| {
                assert_eq!(target.host, from.host);
                (target.port, target.path)
            });
            assert_eq!(found, expected.map(|(port, path)| (port, path.to_owned())), "{location}");
        }
    }

    #[test]
    fn localhost_is_the_address_that_it_is_in_a_configuration() {
        let from = Target { host: Ipv4Addr::LOCALHOST.into(), port: 1, path: "/".to_owned() };
        assert_eq!(from.resolve("http://LOCALHOST:2/x").map(|target| target.port), Ok(2));
        let from = Target { host: Ipv6Addr::LOCALHOST.into(), port: 1, path: "/".to_owned() };
        assert_eq!(from.resolve("http://[::1]:2/x").map(|target| target.port), Ok(2));
    }
}
