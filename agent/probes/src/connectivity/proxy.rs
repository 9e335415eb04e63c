//! Whether the web proxy answers that the machine, or the desktop of the person at it, is told to use.
//!
//! Named for everybody in `/etc/environment`, else in the databases of dconf, the person's own first (`/system/proxy`, as
//! GNOME and its relatives have it; of a file on another machine nothing is read). A proxy is asked to connect to itself, a
//! file that names proxies (PAC) is fetched; what stands in that is a program and not run. What NetworkManager keeps is on
//! D-Bus and not read.

use super::gvdb::Database;
use super::{CAPTURED, EXCHANGE_LIMIT, get, in_header};
use crate::filesystem::parse::mountinfo;
use crate::reach;
use crate::{Context, ProbeError, Root, Sink, account};
use firstline_model::{Attributes, Component, Value, semconv};
use std::time::Instant;

/// Where a Linux system names its proxy for everybody.
const ENVIRONMENT: &str = "/etc/environment";
/// The variables that name it, the one for most pages first.
const VARIABLES: [&str; 3] = ["https_proxy", "http_proxy", "all_proxy"];
/// The usual port of a proxy, where the variable names none.
const PROXY_PORT: u16 = 1080;
/// What the administrator sets for all desktops.
const OF_ALL_DESKTOPS: &str = "/etc/dconf/db";
/// A desktop's settings have some 100 KiB.
const MAX_DATABASE_BYTES: usize = 4 << 20;
const MAX_DATABASES: usize = 8;
/// A PAC file defines this function; it may stand behind a long comment.
const PAC_FUNCTION: &[u8] = b"FindProxyForURL";
const MAX_PAC_BYTES: usize = 256 << 10;
/// File systems of other machines.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "9p", "autofs"];

/// What is to be used, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Configured {
    proxy: Proxy,
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Proxy {
    /// Host and port.
    At(String, u16),
    /// The parts of the `http://` address of a file.
    File(String, u16, String),
}

/// Reports whether it answers, and what it is.
pub(super) fn look(context: &Context, network: &Component, sink: &mut Sink) -> Result<(), ProbeError> {
    let Configured { proxy, source } = configured(&context.root)?;
    let (kind, host, port) = match &proxy {
        Proxy::At(host, port) => ("proxy", host, *port),
        Proxy::File(host, port, _) => ("file", host, *port),
    };
    let document = [
        ("kind", Value::from(kind)),
        ("host", Value::from(in_header(host, port))),
        ("source", Value::from(source)),
    ];
    sink.state(network, "proxy", Value::map(document));
    if !context.root.is_system() {
        return Err(ProbeError::Unsupported(CAPTURED.to_owned()));
    }
    let value = f64::from(u8::from(answers(&proxy)));
    sink.sample(network, semconv::NETWORK_PROXY_REACHABLE, Attributes::none(), value);
    Ok(())
}

/// Asks a proxy to connect to itself: that names no other host, and one that denies it, or asks for a password, has
/// answered. A file must be one that names proxies.
fn answers(proxy: &Proxy) -> bool {
    let asked = match proxy {
        Proxy::At(host, port) => connect(host, *port).map(|()| true),
        Proxy::File(host, port, path) => get(host, *port, path, MAX_PAC_BYTES).map(|reply| {
            reply.status == 200 && reply.body.windows(PAC_FUNCTION.len()).any(|part| part == PAC_FUNCTION)
        }),
    };
    asked.unwrap_or_else(|error| {
        tracing::debug!(error = %error, "the proxy does not answer");
        false
    })
}

fn connect(host: &str, port: u16) -> Result<(), ProbeError> {
    let addresses = reach::resolve(host, port)?;
    let deadline = Instant::now() + EXCHANGE_LIMIT;
    let mut stream = reach::connect(&addresses, deadline)?;
    let itself = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let request = format!("CONNECT {itself} HTTP/1.1\r\nHost: {itself}\r\n\r\n");
    reach::exchange(&mut stream, &request, 0, deadline).map(drop)
}

fn configured(root: &Root) -> Result<Configured, ProbeError> {
    if root.is_system() && !cfg!(target_os = "linux") {
        let why = "the proxy of this operating system is not read yet";
        return Err(ProbeError::Unsupported(why.to_owned()));
    }
    match root.read_text(ENVIRONMENT) {
        Ok(text) => {
            if let Some(value) = VARIABLES.iter().find_map(|name| variable(&text, name)) {
                return Ok(Configured { proxy: proxy_address(value)?, source: "environment" });
            }
        }
        Err(ProbeError::NotPresent(_)) => {}
        Err(error) => return Err(error),
    }
    let own = of_the_person(root).transpose()?.map(|path| (path, "desktop"));
    let shared = root.list(OF_ALL_DESKTOPS).unwrap_or_default();
    let shared =
        shared.iter().take(MAX_DATABASES).map(|name| (format!("{OF_ALL_DESKTOPS}/{name}"), "administrator"));
    let mut refused = None;
    for (path, source) in own.into_iter().chain(shared) {
        let mut bytes = Vec::new();
        match root.read_into(&path, MAX_DATABASE_BYTES, &mut bytes) {
            Ok(()) => {}
            Err(error @ ProbeError::NotPermitted(_)) => {
                refused = Some(error);
                continue;
            }
            // Folders of the texts that the databases are made of stand among them.
            Err(_) => continue,
        }
        if let Some(proxy) = Database::of(&bytes).and_then(|database| of_desktop(&database)) {
            return Ok(match proxy? {
                Some(proxy) => Configured { proxy, source },
                None => break,
            });
        }
    }
    Err(refused.unwrap_or_else(|| ProbeError::NotPresent("no proxy is configured".to_owned())))
}

/// The database of the person at the machine, unless it lies on another one.
fn of_the_person(root: &Root) -> Option<Result<String, ProbeError>> {
    let person = account::at_the_machine(root)?;
    let accounts = root.read_text("/etc/passwd").ok()?;
    let home = accounts.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(person.as_str())).then(|| parts.nth(4))?
    })?;
    let mounts = root.read_text("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mountinfo(mounts.as_bytes());
    let is_above = |point: &str| {
        let rest = home.strip_prefix(point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let on =
        mounts.iter().filter(|mount| is_above(&mount.name())).max_by_key(|mount| mount.mount_point.len());
    if on.is_some_and(|mount| REMOTE.contains(&mount.kind.as_str())) {
        let why = "the desktop's settings lie on another machine, so they are not read";
        return Some(Err(ProbeError::Unsupported(why.to_owned())));
    }
    Some(Ok(format!("{home}/.config/dconf/user")))
}

/// What a desktop is told: `None` when it is told nothing, `Some(None)` when it is told to use none.
fn of_desktop(database: &Database<'_>) -> Option<Result<Option<Proxy>, ProbeError>> {
    let text = |name: &str| database.text(&format!("/system/proxy/{name}")).filter(|text| !text.is_empty());
    Some(match text("mode")? {
        "none" => Ok(None),
        "auto" => match text("autoconfig-url").map(reach::http_url) {
            Some(Some((host, port, path))) => Ok(Some(Proxy::File(host, port, path))),
            Some(None) => Err(ProbeError::Unsupported(
                "the file that names proxies is not at an http:// address, so it is not fetched".to_owned(),
            )),
            None => Err(ProbeError::Unsupported(
                "the desktop looks for its proxy by itself (WPAD), which is not followed".to_owned(),
            )),
        },
        "manual" => {
            let of = |kind: &str| {
                let host = text(&format!("{kind}/host")).filter(|host| reach::is_host(host))?;
                let port = u16::try_from(database.number(&format!("/system/proxy/{kind}/port"))?).ok()?;
                (port > 0).then(|| Proxy::At(host.to_owned(), port))
            };
            Ok(of("https").or_else(|| of("http")))
        }
        _ => return None,
    })
}

/// The value of a variable in the format of pam_env: `NAME=value`, perhaps exported and in quotes. The last one counts.
fn variable<'text>(text: &'text str, wanted: &str) -> Option<&'text str> {
    let value = text.lines().rev().find_map(|line| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then_some(value.trim())
    })?;
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

/// Host and port of a proxy. Its user and password, if there are any, are passed over and never sent.
fn proxy_address(value: &str) -> Result<Proxy, ProbeError> {
    let rest = match value.split_once("://") {
        None => value,
        Some(("http", rest)) => rest,
        Some(_) => {
            let why = "the configured proxy does not speak plain HTTP, so it is not asked";
            return Err(ProbeError::Unsupported(why.to_owned()));
        }
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    // The value may hold a password, so it is not repeated.
    let (host, port) = reach::authority(rest, Some(PROXY_PORT)).ok_or_else(|| {
        ProbeError::Malformed(format!("what {ENVIRONMENT} names as the proxy is no address"))
    })?;
    Ok(Proxy::At(host, port))
}

#[cfg(test)]
mod tests {
    use super::super::gvdb::tests::database;
    use super::*;
    use crate::reach::testing::{canned, nobody, serve};
    use firstline_model::UnavailableReason;
    use std::io::Read as _;
    use std::net::SocketAddr;

    #[test]
    fn a_proxy_that_denies_has_answered_and_one_that_is_gone_or_speaks_rubbish_has_not() {
        let ask = |server: SocketAddr| answers(&Proxy::At("127.0.0.1".to_owned(), server.port()));
        for status in ["200 OK", "403 Forbidden", "407 Proxy Authentication Required"] {
            assert!(ask(canned(format!("HTTP/1.1 {status}\r\n\r\n"))), "{status}");
        }
        assert!(!ask(nobody()));
        assert!(!ask(canned("\x16\x03\x01 garbage")));
        assert!(!ask(serve(|stream| {
            let _ = stream.read(&mut [0; 1]);
        })));
    }

    #[test]
    fn a_file_of_proxies_counts_when_it_is_one() {
        let ask = |server: SocketAddr| {
            answers(&Proxy::File("127.0.0.1".to_owned(), server.port(), "/proxy.pac".to_owned()))
        };
        let pac = "function FindProxyForURL(url, host) { return \"DIRECT\"; }";
        let ok = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(ask(canned(ok(pac))));
        assert!(!ask(canned(ok("<html>Sign in</html>"))));
        assert!(!ask(canned(format!("HTTP/1.1 404 Not Found\r\n\r\n{pac}"))));
        assert!(!ask(nobody()));
    }

    #[test]
    fn the_proxy_is_read_as_pam_env_would_and_its_password_is_left_out() {
        let text = "# http_proxy=http://old:1\nPATH=/bin\nexport HTTP_PROXY=\"http://u:p%40@proxy.corp.example:3128/\"\n";
        let value = variable(text, "http_proxy").unwrap();
        assert_eq!(proxy_address(value).unwrap(), Proxy::At("proxy.corp.example".to_owned(), 3128));
        assert_eq!(variable(text, "all_proxy"), None);
        assert_eq!(variable("http_proxy=\"\"", "http_proxy"), None);
        for (value, reason) in [
            ("socks5://a:1", UnavailableReason::Unsupported),
            ("http://secret@", UnavailableReason::Malformed),
            ("http://secret:x y@bad host", UnavailableReason::Malformed),
        ] {
            let error = proxy_address(value).unwrap_err();
            assert_eq!(error.reason(), reason, "{value}");
            assert!(!error.detail().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_desktop_may_use_none_a_proxy_or_a_file() {
        let told = |values: &[(&str, &[u8])]| {
            let bytes = database(values);
            of_desktop(&Database::of(&bytes).unwrap())
        };
        let (mode, host, port) = ("/system/proxy/mode", "/system/proxy/http/host", "/system/proxy/http/port");
        assert_eq!(told(&[("/other/x", b"a\0\0s")]), None);
        assert_eq!(told(&[(mode, b"none\0\0s"), (host, b"p.example\0\0s")]), Some(Ok(None)));
        let manual = told(&[(mode, b"manual\0\0s"), (host, b"p.example\0\0s"), (port, b"\x38\x0c\0\0\0i")]);
        assert_eq!(manual, Some(Ok(Some(Proxy::At("p.example".to_owned(), 3128)))));
        let file = ("/system/proxy/autoconfig-url", b"http://pac.example/p.pac\0\0s".as_slice());
        let parts = Proxy::File("pac.example".to_owned(), 80, "/p.pac".to_owned());
        assert_eq!(told(&[(mode, b"auto\0\0s"), file]), Some(Ok(Some(parts))));
        for unsupported in
            [told(&[(mode, b"auto\0\0s")]), told(&[(mode, b"auto\0\0s"), (file.0, b"file:///p\0\0s")])]
        {
            assert_eq!(unsupported.unwrap().unwrap_err().reason(), UnavailableReason::Unsupported);
        }
        let bad = told(&[(mode, b"manual\0\0s"), (host, b"a b\r\n\0\0s"), (port, b"\xff\xff\xff\xff\0i")]);
        assert_eq!(bad, Some(Ok(None)));
    }
}
