//! Finds calls of memory builtins in a linked eBPF object.
//!
//! LLVM turns an array initialiser of a few bytes into a call of `memset`. Such an object loads
//! for root and is refused with three capabilities, so that nobody notices before production.

use std::{fmt, path::Path};

use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind, SymbolSection,
};

use crate::error::Error;

const BUILTINS: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];

/// `BPF_JMP | BPF_CALL` (RFC 9669, 4.3).
const CALL: u8 = 0x85;
/// Source register of a call within the program, by offset from the next instruction.
const PSEUDO_CALL: u8 = 1;
/// Bytes of an instruction (RFC 9669, 3.1); a wide one is two.
const INSTRUCTION: usize = 8;

/// A call of a builtin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) caller: String,
    pub(crate) builtin: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls {}", self.caller, self.builtin)
    }
}

/// Fails when the object at `path` calls a builtin.
pub(crate) fn refuse(path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    let calls = find(&bytes).map_err(|source| Error::Object {
        path: path.into(),
        source,
    })?;
    if calls.is_empty() {
        Ok(())
    } else {
        Err(Error::BuiltinCalls(calls))
    }
}

/// All calls of builtins, each pair of caller and builtin once.
pub(crate) fn find(object: &[u8]) -> Result<Vec<Call>, object::Error> {
    let file = object::File::parse(object)?;
    let mut calls = Vec::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let code = section.data()?;
        for (number, instruction) in code.chunks_exact(INSTRUCTION).enumerate() {
            let &[CALL, registers, _, _, a, b, c, d] = instruction else {
                continue;
            };
            let offset = (number * INSTRUCTION) as u64;
            let jump = i64::from(i32::from_le_bytes([a, b, c, d]));
            // Where the callee lies: without a relocation, so many instructions ahead; with one
            // against a section, so many from its start.
            let callee = match section.relocations().find(|(at, _)| *at == offset) {
                Some((_, relocation)) => match relocation.target() {
                    RelocationTarget::Symbol(index) => {
                        let symbol = file.symbol_by_index(index)?;
                        if symbol.kind() == SymbolKind::Section {
                            function_at(&file, symbol.section(), (jump + 1) * INSTRUCTION as i64)
                        } else {
                            symbol.name().ok().map(str::to_owned)
                        }
                    }
                    _ => None,
                },
                None if registers >> 4 == PSEUDO_CALL => function_at(
                    &file,
                    SymbolSection::Section(section.index()),
                    offset as i64 + (jump + 1) * INSTRUCTION as i64,
                ),
                None => None,
            };
            let Some(builtin) = callee.filter(|name| BUILTINS.contains(&name.as_str())) else {
                continue;
            };
            let here = SymbolSection::Section(section.index());
            let caller = function_at(&file, here, offset as i64)
                .unwrap_or_else(|| format!("{}+{offset}", section.name().unwrap_or("?")));
            let call = Call { caller, builtin };
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
    }
    Ok(calls)
}

/// The function that covers `offset`: the last one that starts there or before.
fn function_at(file: &object::File<'_>, section: SymbolSection, offset: i64) -> Option<String> {
    let offset = u64::try_from(offset).ok()?;
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.section() == section)
        .filter(|symbol| symbol.address() <= offset)
        .max_by_key(|symbol| symbol.address())
        .and_then(|symbol| symbol.name().ok().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolScope,
        write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId},
    };

    use super::*;

    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn call(source: u8, imm: i32) -> [u8; 8] {
        let [a, b, c, d] = imm.to_le_bytes();
        [CALL, source << 4, 0, 0, a, b, c, d]
    }

    fn object() -> (Object<'static>, SectionId) {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let text = object.section_id(StandardSection::Text);
        (object, text)
    }

    fn function(
        object: &mut Object<'_>,
        text: Option<SectionId>,
        name: &str,
        code: &[u8],
    ) -> SymbolId {
        let id = object.add_symbol(Symbol {
            name: name.into(),
            value: 0,
            size: 0,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: object::write::SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        if let Some(text) = text {
            object.add_symbol_data(id, text, code, 8);
        }
        id
    }

    fn found(object: &Object<'_>) -> Vec<String> {
        let calls = find(&object.write().unwrap()).unwrap();
        calls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_call_of_an_undefined_builtin_is_found_with_its_caller() {
        let (mut object, text) = object();
        function(&mut object, Some(text), "harmless", &EXIT);
        let memset = function(&mut object, None, "memset", &[]);
        function(
            &mut object,
            Some(text),
            "parse",
            &[EXIT, call(1, -1), EXIT].concat(),
        );
        object
            .add_relocation(
                text,
                Relocation {
                    offset: 16,
                    symbol: memset,
                    addend: 0,
                    flags: RelocationFlags::Elf {
                        r_type: object::elf::R_BPF_64_32,
                    },
                },
            )
            .unwrap();
        assert_eq!(found(&object), ["parse calls memset"]);
    }

    #[test]
    fn a_call_of_a_builtin_in_the_same_section_is_found_without_a_relocation() {
        let (mut object, text) = object();
        function(&mut object, Some(text), "memcpy", &[EXIT, EXIT].concat());
        function(
            &mut object,
            Some(text),
            "answer",
            &[EXIT, call(1, -4), EXIT].concat(),
        );
        assert_eq!(found(&object), ["answer calls memcpy"]);
    }

    #[test]
    fn a_builtin_that_nobody_calls_does_no_harm() {
        let (mut object, text) = object();
        function(&mut object, Some(text), "memcpy", &EXIT);
        function(&mut object, Some(text), "other", &EXIT);
        // One call goes to `other`, one to a helper of the kernel.
        function(
            &mut object,
            Some(text),
            "answer",
            &[call(1, -2), call(0, 4), EXIT].concat(),
        );
        assert_eq!(found(&object), Vec::<String>::new());
    }
}
