//! An initramfs in cpio's "newc" form (kernel, `Documentation/driver-api/early-userspace/
//! buffer-format.rst`): a header of hexadecimal fields, the name, the content, each padded to 4.

/// A cpio archive in the making. Written by ourselves, a device node in it needs no privilege.
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    inode: u32,
}

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const SYMBOLIC_LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Initramfs {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            inode: 0,
        }
    }

    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, (0, 0), &[]);
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, EXECUTABLE, (0, 0), content);
    }

    pub(super) fn link(&mut self, name: &str, to: &str) {
        self.entry(name, SYMBOLIC_LINK, (0, 0), to.as_bytes());
    }

    /// `/dev/console`, which the kernel opens for its first process.
    pub(super) fn console(&mut self) {
        self.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.inode += 1;
        let fields = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // time
            content.len() as u32,
            0, // device of the file system
            0,
            major,
            minor,
            name.len() as u32 + 1,
            0, // no checksum
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
