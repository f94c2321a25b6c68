//! The machine of a pickle: a stack of values, marks on it, and a memo of values by number.

use std::collections::HashMap;

use super::call::{Outcome, call, storage};
use super::cursor::{Cursor, text};
use super::global::Global;
use super::value::{GlobalValue, Id, Value, Values};

/// The largest number of values of a pickle, and of entries in its memo and on its stack. A tensor takes about 25, so
/// this is enough for eighty thousand tensors.
pub(super) const MAX_VALUES: usize = 1 << 21;

/// A pickle that was read.
#[derive(Debug)]
pub(in crate::torch) struct Pickle<'a> {
    /// All values, some of which the root need not contain.
    pub(in crate::torch) values: Values<'a>,
    /// The value that was saved.
    pub(in crate::torch) root: Id,
    /// The number of bytes of the pickle.
    pub(in crate::torch) length: usize,
}

/// Reads the pickle at the beginning of `bytes`.
///
/// # Errors
/// A message, if it is truncated, malformed or too large, or names a class or function that no state dict needs.
pub(in crate::torch) fn load(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        cursor: Cursor::new(bytes),
        values: Values(Vec::new()),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        work: 0,
    };
    match (machine.cursor.byte()?, machine.cursor.byte()?) {
        (0x80, 2..=5) => {}
        (0x80, protocol) => return Err(format!("it has pickle protocol {protocol}, expected 2 to 5")),
        _ => return Err("it is not a pickle of protocol 2 to 5".to_owned()),
    }
    let root = machine.run()?;
    Ok(Pickle { values: machine.values, root, length: machine.cursor.position() })
}

#[derive(Debug)]
struct Machine<'a> {
    cursor: Cursor<'a>,
    values: Values<'a>,
    stack: Vec<Id>,
    /// The lengths of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// The number of entries copied from one container to another.
    work: usize,
}

impl<'a> Machine<'a> {
    /// Runs opcodes up to `STOP` and returns the value on top of the stack.
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let at = self.cursor.position();
            let opcode = self.cursor.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            let known =
                self.literal(opcode)? || self.container(opcode)? || self.memory(opcode)? || self.calls(opcode)?;
            if !known {
                return Err(format!("the pickle has opcode {opcode:#04x} at byte {at}, which no state dict needs"));
            }
            if self.stack.len().max(self.marks.len()).max(self.memo.len()).max(self.work) > MAX_VALUES {
                return Err(too_large());
            }
        }
    }

    /// Runs an opcode that pushes a constant. Returns false for other opcodes.
    fn literal(&mut self, opcode: u8) -> Result<bool, String> {
        let cursor = &mut self.cursor;
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(cursor.array()?).into()),
            b'K' => Value::Int(cursor.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(cursor.array()?).into()),
            0x8a => integer(cursor.short_bytes()?),
            0x8b => integer(cursor.bytes()?),
            b'G' => {
                cursor.take(8)?;
                Value::Other("a float")
            }
            // Strings of Python 2 and 3.
            b'U' | 0x8c => Value::Str(text(cursor.short_bytes()?)?),
            b'T' | b'X' => Value::Str(text(cursor.bytes()?)?),
            0x8d => Value::Str(text(cursor.long_bytes()?)?),
            b'C' => bytes(cursor.short_bytes()?),
            b'B' => bytes(cursor.bytes()?),
            0x8e | 0x96 => bytes(cursor.long_bytes()?),
            _ => return Ok(false),
        };
        self.push(value).map(|()| true)
    }

    /// Runs an opcode that makes or fills a container. Returns false for other opcodes.
    fn container(&mut self, opcode: u8) -> Result<bool, String> {
        match opcode {
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Other("a set"))?,
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items))?;
            }
            b't' | b'l' | b'd' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(match opcode {
                    b't' => Value::Tuple(items),
                    b'l' => Value::List(items),
                    b'd' => Value::Dict(pairs(&items)?),
                    _ => Value::Other("a frozen set"),
                })?;
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' { self.pop_many(1)? } else { self.pop_to_mark()? };
                match self.top()? {
                    Value::List(list) => list.extend(items),
                    other => return Err(format!("the pickle appends to {}, expected a list", other.kind())),
                }
            }
            b's' | b'u' => {
                let items = if opcode == b's' { self.pop_many(2)? } else { self.pop_to_mark()? };
                match self.top()? {
                    Value::Dict(dict) => dict.extend(pairs(&items)?),
                    other => return Err(format!("the pickle sets an item of {}, expected a dict", other.kind())),
                }
            }
            0x90 => {
                self.pop_to_mark()?;
                match self.top()? {
                    Value::Other("a set") => {}
                    other => return Err(format!("the pickle adds items to {}, expected a set", other.kind())),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs an opcode of the stack, the memo or the framing. Returns false for other opcodes.
    fn memory(&mut self, opcode: u8) -> Result<bool, String> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.top_id()?),
            b'q' | b'r' | 0x94 => {
                let index = match opcode {
                    b'q' => self.cursor.byte()?.into(),
                    b'r' => u32::from_le_bytes(self.cursor.array()?),
                    _ => self.memo.len() as u32, // at most MAX_VALUES
                };
                self.memo.insert(index, self.top_id()?);
            }
            b'h' | b'j' => {
                let index = match opcode {
                    b'h' => self.cursor.byte()?.into(),
                    _ => u32::from_le_bytes(self.cursor.array()?),
                };
                let found = self.memo.get(&index).copied();
                self.stack.push(found.ok_or_else(|| format!("the pickle refers to value {index}, which it lacks"))?);
            }
            // The length of a frame, which only helps to read ahead.
            0x95 => drop(self.cursor.take(8)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs an opcode that names or calls something of Python. Returns false for other opcodes.
    fn calls(&mut self, opcode: u8) -> Result<bool, String> {
        match opcode {
            b'c' => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                self.push_global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.values.str(module, "a module")?, self.values.str(name, "a name")?);
                self.push_global(module, name)?;
            }
            // A call, or the creation of an object.
            b'R' | 0x81 => {
                let (args, function) = (self.pop()?, self.pop()?);
                match call(&self.values, function, args)? {
                    Outcome::Same(id) => self.stack.push(id),
                    Outcome::New(value) => {
                        self.work += if let Value::Dict(pairs) = &value { pairs.len() } else { 0 };
                        self.push(value)?;
                    }
                }
            }
            // Attributes of an object, such as `_metadata` of a state dict.
            b'b' => {
                self.pop()?;
                match self.top()? {
                    Value::Dict(_) => {}
                    other => return Err(format!("the pickle sets the state of {}, expected a dict", other.kind())),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&self.values, id)?;
                self.push(Value::Storage(Box::new(storage)))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), String> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(GlobalValue(global))),
            None => Err(format!(
                "it names the callable {}.{}, expected only tensors and containers; load it in Python, where it may run \
                 code, and save `model.state_dict()`",
                module.escape_debug(),
                name.escape_debug()
            )),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        let index = self.values.0.len();
        if index >= MAX_VALUES {
            return Err(too_large());
        }
        self.values.0.push(value);
        self.stack.push(Id(index as u32));
        Ok(())
    }

    /// Takes the value on top of the stack.
    fn pop(&mut self) -> Result<Id, String> {
        let id = self.top_id()?;
        self.stack.pop();
        Ok(id)
    }

    /// Takes the last `count` values, in the order in which they were pushed.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
        Ok(self.stack.split_off(start.ok_or_else(empty_stack)?))
    }

    /// Takes the values above the last mark, and the mark.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("the pickle refers to a mark that it lacks")?;
        Ok(self.stack.split_off(mark))
    }

    /// Returns the number of values below the last mark, which are out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top_id(&self) -> Result<Id, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(empty_stack)
    }

    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let id = self.top_id()?;
        Ok(&mut self.values.0[id.0 as usize])
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err("the pickle has a dict with a key that lacks a value".to_owned()),
    }
}

fn bytes<'a>(_content: &[u8]) -> Value<'a> {
    Value::Other("bytes")
}

/// Returns an integer in little-endian two's complement.
fn integer(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(all))
}

fn empty_stack() -> String {
    "the pickle takes a value from an empty stack".to_owned()
}

fn too_large() -> String {
    format!("the pickle has more than {MAX_VALUES} values, expected a state dict")
}
