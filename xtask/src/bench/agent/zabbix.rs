//! As much of a Zabbix server as an agent with active checks needs: it hands out a list of items and takes every value.
//!
//! The items are those of the stock template for Linux with active checks, version 6.0, with its delays; what discovery
//! would add is listed for one file system, one disk and one network interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::read::ZlibDecoder;
use serde_json::{Value, json};

const HEADER: &[u8; 5] = b"ZBXD\x01";
/// Set in the header's fifth byte when the body is zlib's.
const COMPRESSED: u8 = 2;
/// Longest request that is taken.
const LONGEST: usize = 1 << 20;

const EVERY_MINUTE: &[&str] = &[
    "system.swap.size[,free]",
    "system.cpu.util[,system]",
    "system.cpu.util[,user]",
    "system.localtime",
    "system.swap.size[,pfree]",
    "system.cpu.util[,softirq]",
    "system.swap.size[,total]",
    "system.users.num",
    "vm.memory.size[available]",
    "vm.memory.size[pavailable]",
    "vm.memory.size[total]",
    "system.cpu.util[,steal]",
    "system.cpu.util[,nice]",
    "agent.ping",
    "system.cpu.load[all,avg1]",
    "proc.num",
    "proc.num[,,run]",
    "system.cpu.intr",
    "system.cpu.load[all,avg5]",
    "system.cpu.util[,iowait]",
    "system.cpu.load[all,avg15]",
    "system.cpu.num",
    "system.cpu.switches",
    "system.cpu.util[,guest]",
    "system.cpu.util[,guest_nice]",
    "system.cpu.util[,idle]",
    "system.cpu.util[,interrupt]",
    "vfs.file.contents[\"/sys/class/net/eth0/operstate\"]",
    "vfs.file.contents[/sys/block/vda/stat]",
    "vfs.fs.inode[/,pfree]",
    "vfs.fs.size[/,pused]",
    "vfs.fs.size[/,total]",
    "vfs.fs.size[/,used]",
];
const EVERY_THREE_MINUTES: &[&str] = &[
    "net.if.in[\"eth0\",dropped]",
    "net.if.in[\"eth0\",errors]",
    "net.if.in[\"eth0\"]",
    "net.if.out[\"eth0\",dropped]",
    "net.if.out[\"eth0\",errors]",
    "net.if.out[\"eth0\"]",
];
const EVERY_QUARTER: &[&str] = &["system.uname", "vfs.file.cksum[/etc/passwd,sha256]", "system.boottime"];
const EVERY_HOUR: &[&str] = &[
    "agent.hostname",
    "system.hostname",
    "system.sw.arch",
    "system.sw.os",
    "system.sw.packages",
    "agent.version",
    "kernel.maxfiles",
    "kernel.maxproc",
    "net.if.discovery",
    "vfs.dev.discovery",
    "vfs.fs.discovery",
];

/// Starts to answer, for as long as this process lives.
pub(super) fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port for the Zabbix peer's server")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A peer that breaks off costs its own exchange only; the figures show whether it sent anything.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = receive(&mut stream)?;
    let reply = reply(&request).to_string();
    let length = u32::try_from(reply.len())?;
    let mut message = HEADER.to_vec();
    message.extend(length.to_le_bytes());
    message.extend([0; 4]);
    message.extend(reply.as_bytes());
    stream.write_all(&message)?;
    Ok(())
}

fn receive(stream: &mut impl Read) -> Result<Value> {
    let mut header = [0; 13];
    stream.read_exact(&mut header)?;
    let length = u32::from_le_bytes([header[5], header[6], header[7], header[8]]) as usize;
    if header[..4] != HEADER[..4] || length > LONGEST {
        bail!("this is no message of a Zabbix agent");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if header[4] & COMPRESSED == 0 {
        return Ok(serde_json::from_slice(&body)?);
    }
    Ok(serde_json::from_reader(ZlibDecoder::new(&body[..]).take(LONGEST as u64))?)
}

fn reply(request: &Value) -> Value {
    if request["request"] == "active checks" {
        return json!({ "response": "success", "data": items(), "regexp": [] });
    }
    let count = request["data"].as_array().map_or(0, Vec::len);
    json!({
        "response": "success",
        "info": format!("processed: {count}; failed: 0; total: {count}; seconds spent: 0.000100"),
    })
}

fn items() -> Vec<Value> {
    let groups = [
        (EVERY_MINUTE, "1m"),
        (EVERY_THREE_MINUTES, "3m"),
        (EVERY_QUARTER, "15m"),
        (EVERY_HOUR, "1h"),
        (&["system.uptime"][..], "30s"),
    ];
    let keys = groups.iter().flat_map(|(keys, delay)| keys.iter().map(move |key| (*key, *delay)));
    keys.enumerate()
        .map(|(n, (key, delay))| {
            json!({ "key": key, "key_orig": key, "itemid": 1000 + n, "delay": delay, "lastlogsize": 0, "mtime": 0 })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(address: SocketAddr, request: &Value) -> Value {
        let mut stream = TcpStream::connect(address).unwrap();
        let body = request.to_string();
        let mut message = HEADER.to_vec();
        message.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        message.extend([0; 4]);
        message.extend(body.as_bytes());
        stream.write_all(&message).unwrap();
        receive(&mut stream).unwrap()
    }

    #[test]
    fn an_agent_gets_its_items_and_is_thanked_for_values() {
        let address = serve().unwrap();
        let list =
            exchange(address, &json!({ "request": "active checks", "host": "h", "version": "6.0.14" }));
        assert_eq!(list["data"].as_array().unwrap().len(), 54);
        let thanks = exchange(address, &json!({ "request": "agent data", "data": [1, 2] }));
        assert!(thanks["info"].as_str().unwrap().starts_with("processed: 2;"), "{thanks}");
    }
}
