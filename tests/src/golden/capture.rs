//! Captures on disk, and frames for human eyes.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pcap_file::{
    DataLink, PcapError,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
};

/// Where the captures of a case lie.
pub fn folder(name: &str) -> PathBuf {
    root().join(name)
}

/// Where all captures lie.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Writes frames, a second apart, from time zero on: the same bytes every time.
pub fn write(path: &Path, frames: &[Vec<u8>]) -> Result<(), PcapError> {
    let header = PcapHeader {
        datalink: DataLink::ETHERNET,
        ..PcapHeader::default()
    };
    let mut writer =
        PcapWriter::with_header(File::create(path).map_err(PcapError::IoError)?, header)?;
    for (second, frame) in frames.iter().enumerate() {
        let time = Duration::from_secs(second as u64);
        writer.write_packet(&PcapPacket::new(time, frame.len() as u32, frame))?;
    }
    Ok(())
}

/// Reads frames; none from a file that is not there.
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>, PcapError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        file => file.map_err(PcapError::IoError)?,
    };
    let mut reader = PcapReader::new(file)?;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet?.data.into_owned());
    }
    Ok(frames)
}

/// Both frames as tcpdump prints them, and the first byte that differs.
pub fn differ(expected: Option<&[u8]>, got: Option<&[u8]>) -> String {
    let mut text = String::new();
    for (title, frame) in [("expected", expected), ("got", got)] {
        let shown = frame.map_or_else(|| "  no frame, or as it came in\n".to_owned(), print);
        text.push_str(&format!("{title}:\n{shown}"));
    }
    if let (Some(expected), Some(got)) = (expected, got) {
        text.push_str(&first_difference(expected, got));
    }
    text
}

fn first_difference(expected: &[u8], got: &[u8]) -> String {
    let at = expected.iter().zip(got).position(|(a, b)| a != b);
    match at {
        Some(at) => format!(
            "first difference: byte {at} ({}): expected {:02x}, got {:02x}\n",
            field(expected, at),
            expected[at],
            got[at]
        ),
        None if expected.len() != got.len() => {
            format!("length: expected {}, got {}\n", expected.len(), got.len())
        }
        None => String::new(),
    }
}

/// Name of the field of an untagged ARP or ND frame without extensions that a byte lies in.
pub fn field(frame: &[u8], at: usize) -> &'static str {
    const ETHERNET: &[(usize, &str)] = &[
        (0, "Ethernet destination"),
        (6, "Ethernet source"),
        (12, "EtherType"),
    ];
    const ARP: &[(usize, &str)] = &[
        (14, "hardware type"),
        (16, "protocol type"),
        (18, "address lengths"),
        (20, "operation"),
        (22, "sender hardware address"),
        (28, "sender protocol address"),
        (32, "target hardware address"),
        (38, "target protocol address"),
        (42, "padding"),
    ];
    const ND: &[(usize, &str)] = &[
        (14, "IPv6 version, class, flow label"),
        (18, "payload length"),
        (20, "next header"),
        (21, "hop limit"),
        (22, "source"),
        (38, "destination"),
        (54, "ICMPv6 type and code"),
        (56, "checksum"),
        (58, "flags"),
        (62, "target"),
        (78, "option"),
    ];
    let rest: &[(usize, &str)] = match frame.get(12..14) {
        _ if at < 14 => ETHERNET,
        Some([0x08, 0x06]) => ARP,
        Some([0x86, 0xdd]) => ND,
        _ => &[(0, "tag, or what is behind it")],
    };
    let known = rest.iter().rev().find(|(from, _)| *from <= at);
    known.map_or("?", |(_, name)| name)
}

/// A frame as tcpdump prints it, else its bytes.
pub fn print(frame: &[u8]) -> String {
    tcpdump(frame).unwrap_or_else(|| format!("  {frame:02x?}\n"))
}

fn tcpdump(frame: &[u8]) -> Option<String> {
    let unique = format!("xvip-{}-{:p}.pcap", std::process::id(), frame.as_ptr());
    let path = std::env::temp_dir().join(unique);
    write(&path, &[frame.to_vec()]).ok()?;
    let output = Command::new("tcpdump")
        .args(["-tnevvXX", "-r"])
        .arg(&path)
        .output();
    let _ = fs::remove_file(&path);
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    (!text.is_empty()).then_some(text)
}
