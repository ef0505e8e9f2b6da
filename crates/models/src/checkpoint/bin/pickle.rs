//! A machine that reads pickles and runs nothing.
//!
//! A pickle is a program that builds a value on a stack. This one knows numbers, texts, containers and how PyTorch describes a tensor;
//! every other class or function that a program asks for is refused by name, before anything is done with it.

use std::collections::HashMap;

use trustformers_tensor::DType;

/// More operations than any checkpoint has: a tensor takes about forty, so these are two hundred thousand tensors. None takes more memory
/// than a few words.
const MOST: usize = 1 << 23;

/// What the stack holds. Whatever contains others lies among the machine's objects, so shared, cyclic and deep values cost nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A value that no tensor is made of: `None`, a float, bytes.
    Other,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: little-endian, two's complement.
    Long(&'a [u8]),
    Text(&'a str),
    Global(Global),
    Object(usize),
}

/// The classes and functions that are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Global {
    OrderedDict,
    Size,
    /// `torch._utils._rebuild_tensor` and its second version, which adds arguments that do not matter here.
    Tensor,
    /// The third version, whose storage is of bytes.
    TensorOverBytes,
    Parameter,
    /// A storage's class; of bytes if it has no dtype.
    Storage(Option<DType>),
    DType(DType),
}

#[derive(Debug)]
pub enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(Box<View<'a>>),
}

/// Elements that lie elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage<'a> {
    pub key: &'a str,
    /// None for a storage of bytes.
    pub dtype: Option<DType>,
}

/// A tensor: a view of a storage. Offset and strides count elements of `dtype`.
#[derive(Clone, Debug, PartialEq)]
pub struct View<'a> {
    pub storage: Storage<'a>,
    pub dtype: DType,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
}

/// What a pickle builds.
pub struct Pickle<'a> {
    pub value: Value<'a>,
    pub objects: Vec<Object<'a>>,
    /// The bytes behind it.
    pub rest: &'a [u8],
}

/// Why it is refused, to follow the file's name.
type Result<T> = std::result::Result<T, String>;

/// Reads the pickle at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Result<Pickle<'_>> {
    let mut machine =
        Machine { bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), objects: Vec::new() };
    for _ in 0..MOST {
        if let Some(value) = machine.step()? {
            return Ok(Pickle { value, objects: machine.objects, rest: machine.bytes });
        }
    }
    Err(format!("its pickle has more than {MOST} operations, and no checkpoint has"))
}

impl<'a> Pickle<'a> {
    /// What the value is, if it is an object.
    pub fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    /// Every storage that the pickle asks for, as often as it does.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}

struct Machine<'a> {
    /// What is still to be read.
    bytes: &'a [u8],
    stack: Vec<Value<'a>>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    objects: Vec<Object<'a>>,
}

impl<'a> Machine<'a> {
    /// Executes one operation; the last one gives the value. The letters are those of Python's `pickle.py`.
    fn step(&mut self) -> Result<Option<Value<'a>>> {
        let code = self.number::<1>()? as u8;
        match code {
            b'.' => return self.pop().map(Some), // STOP
            b'\x80' => match self.number::<1>()? {
                2..=5 => {}
                version => return Err(format!("its pickle has the protocol {version}, not 2 to 5")),
            },
            b'\x95' => drop(self.take(8)?), // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'N' => self.stack.push(Value::Other),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            b'\x88' => self.stack.push(Value::Bool(true)),
            b'\x89' => self.stack.push(Value::Bool(false)),
            b'J' => {
                let int = self.number::<4>()? as u32 as i32;
                self.stack.push(Value::Int(int.into()));
            }
            b'K' => {
                let int = self.number::<1>()?;
                self.stack.push(Value::Int(int as i64));
            }
            b'M' => {
                let int = self.number::<2>()?;
                self.stack.push(Value::Int(int as i64));
            }
            b'\x8a' => {
                let length = self.number::<1>()?;
                let long = self.take(length)?;
                self.stack.push(integer(long));
            }
            b'U' | b'\x8c' => self.text::<1>()?,
            b'T' | b'X' => self.text::<4>()?,
            b'\x8d' => self.text::<8>()?,
            b'C' => self.skip::<1>()?,
            b'B' => self.skip::<4>()?,
            b'\x8e' => self.skip::<8>()?,

            b')' => self.push(Object::Tuple(Vec::new())),
            b'\x85'..=b'\x87' => {
                let mut items = Vec::new();
                for _ in 0..code - b'\x84' {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Object::Tuple(items));
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Object::Tuple(items));
            }
            b']' => self.push(Object::List(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Object::List(items));
            }
            b'}' => self.push(Object::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Object::Dict(pairs(&items)?));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }

            b'q' => self.remember::<1>()?,
            b'r' => self.remember::<4>()?,
            b'\x94' => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(global(module, name)?));
            }
            b'\x93' => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.stack.push(Value::Global(global(module, name)?));
                }
                _ => return Err("its pickle is damaged: a class without a name".into()),
            },
            b'i' => return Err(refused(self.line()?, self.line()?)),
            b'R' | b'\x81' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            // The attributes of an OrderedDict say nothing about tensors.
            b'b' => {
                let (_, target) = (self.pop()?, self.top()?);
                if !matches!(self.object(target), Some(Object::Dict(_))) {
                    return Err("its pickle sets attributes of something other than an OrderedDict, which could run code".into());
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Object::Storage(storage));
            }
            _ => {
                return Err(format!(
                    "its pickle is damaged or no state dict: the operation {:?} is not used for tensors",
                    code as char
                ));
            }
        }
        Ok(None)
    }

    /// What the known functions and classes give for their arguments.
    fn call(&mut self, callee: Value<'a>, arguments: Value<'a>) -> Result<()> {
        let Value::Global(global) = callee else {
            return Err("its pickle calls something that is not a function".into());
        };
        let damaged = || format!("its pickle is damaged: {global:?} has other arguments than PyTorch gives");
        let arguments = self.tuple(arguments).ok_or_else(damaged)?;
        let made = match (global, arguments) {
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            (Global::OrderedDict, &[items]) => Object::Dict(self.items(items).ok_or_else(damaged)?),
            (Global::Tensor | Global::TensorOverBytes, arguments) => {
                let metadata = arguments.get(if global == Global::Tensor { 6 } else { 7 });
                let plain =
                    |&value| matches!(self.object(value), Some(Object::Dict(pairs)) if pairs.is_empty());
                if !metadata.is_none_or(plain) {
                    return Err("a tensor in it is a conjugate or a negative view: save it resolved".into());
                }
                Object::Tensor(Box::new(self.view(global, arguments).ok_or_else(damaged)?))
            }
            (Global::Size, &[value]) if self.tuple(value).is_some() => return self.same(value),
            (Global::Parameter, &[value, ..]) if matches!(self.object(value), Some(Object::Tensor(_))) => {
                return self.same(value);
            }
            _ => return Err(damaged()),
        };
        self.push(made);
        Ok(())
    }

    /// The value of a wrapper that says nothing about tensors.
    fn same(&mut self, value: Value<'a>) -> Result<()> {
        self.stack.push(value);
        Ok(())
    }

    /// The pairs of a dictionary as Python 2 wrote them: a list of lists of two.
    fn items(&self, items: Value) -> Option<Vec<(Value<'a>, Value<'a>)>> {
        let Some(Object::List(items)) = self.object(items) else { return None };
        let pair = |&item: &Value<'a>| match self.object(item)? {
            Object::List(pair) | Object::Tuple(pair) => pair.as_array().map(|&[key, value]| (key, value)),
            _ => None,
        };
        items.iter().map(pair).collect()
    }

    /// The tensor of a storage, an offset, a shape, strides and more, of which the third version has a dtype.
    fn view(&self, global: Global, arguments: &[Value<'a>]) -> Option<View<'a>> {
        let &[storage, offset, shape, strides, ..] = arguments else { return None };
        let Some(&Object::Storage(storage)) = self.object(storage) else { return None };
        let dtype = match (global, arguments.get(6)) {
            (Global::TensorOverBytes, Some(&Value::Global(Global::DType(dtype)))) => dtype,
            (Global::Tensor, _) => storage.dtype?,
            _ => return None,
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        let strides: Vec<isize> = strides.into_iter().map(|stride| stride as isize).collect();
        let fits = shape.len() == strides.len() && shape.len() <= 64;
        fits.then_some(View { storage, dtype, offset: natural(offset)?, shape, strides })
    }

    /// The storage that a persistent id asks for: its class, its key, the device and the length, which the file says again. A sixth is of
    /// views between storages, which only PyTorch before 0.4 had.
    fn storage(&self, id: Value<'a>) -> Result<Storage<'a>> {
        match self.tuple(id) {
            Some(
                &[Value::Text("storage"), Value::Global(Global::Storage(dtype)), Value::Text(key), _, _]
                | &[
                    Value::Text("storage"),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(key),
                    _,
                    _,
                    Value::Other,
                ],
            ) => Ok(Storage { key, dtype }),
            _ => Err("its pickle is damaged: it asks for something other than a storage".into()),
        }
    }

    fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn tuple(&self, value: Value) -> Option<&[Value<'a>]> {
        match self.object(value) {
            Some(Object::Tuple(items)) => Some(items),
            _ => None,
        }
    }

    fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        self.tuple(value)?.iter().map(|&size| natural(size)).collect()
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// What lies on top, above the last mark.
    fn top(&self) -> Result<Value<'a>> {
        let above = &self.stack[self.marks.last().copied().unwrap_or(0)..];
        above.last().copied().ok_or_else(|| "its pickle is damaged: the stack is empty".into())
    }

    /// All above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or("its pickle is damaged: a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, items: &[Value<'a>]) -> Result<()> {
        match self.container()? {
            Object::List(list) => list.extend_from_slice(items),
            _ => return Err("its pickle is damaged: it appends to something other than a list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Value<'a>]) -> Result<()> {
        match self.container()? {
            Object::Dict(dict) => dict.extend(pairs(items)?),
            _ => return Err("its pickle is damaged: it sets items of something other than a dict".into()),
        }
        Ok(())
    }

    fn container(&mut self) -> Result<&mut Object<'a>> {
        match self.top()? {
            Value::Object(index) => Ok(&mut self.objects[index]),
            _ => Err("its pickle is damaged: it fills something other than a container".into()),
        }
    }

    fn remember<const N: usize>(&mut self) -> Result<()> {
        let (slot, top) = (self.number::<N>()?, self.top()?);
        self.memo.insert(slot as u64, top);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Result<()> {
        let slot = self.number::<N>()?;
        let value = self.memo.get(&(slot as u64));
        self.stack.push(*value.ok_or("its pickle is damaged: it recalls what it has not remembered")?);
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Result<()> {
        let length = self.number::<N>()?;
        let text = utf8(self.take(length)?)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn skip<const N: usize>(&mut self) -> Result<()> {
        let length = self.number::<N>()?;
        self.take(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    /// A little-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Result<usize> {
        let bytes = self.take(N)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or_else(cut)?;
        let line = self.take(end)?;
        self.take(1)?;
        utf8(line)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(cut)?;
        self.bytes = rest;
        Ok(taken)
    }
}

fn cut() -> String {
    "its pickle is cut short: fetch it again".into()
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| "its pickle is damaged: a text is not UTF-8".into())
}

fn pairs<'a>(items: &[Value<'a>]) -> Result<Vec<(Value<'a>, Value<'a>)>> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("its pickle is damaged: a key without a value".into()),
    }
}

/// An integer that is not negative.
fn natural(value: Value) -> Option<usize> {
    match value {
        Value::Int(int) => usize::try_from(int).ok(),
        _ => None,
    }
}

fn integer(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

fn global(module: &str, name: &str) -> Result<Global> {
    let known = match (module, name) {
        ("collections", "OrderedDict") => Some(Global::OrderedDict),
        ("torch", "Size") => Some(Global::Size),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Global::Tensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Global::TensorOverBytes),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Global::Parameter),
        ("torch" | "torch.cuda" | "torch.storage", _) if name.ends_with("Storage") => storage(name),
        ("torch", _) => DType::ALL.iter().find(|dtype| dtype.name() == name).copied().map(Global::DType),
        _ => None,
    };
    known.ok_or_else(|| refused(module, name))
}

fn storage(class: &str) -> Option<Global> {
    Some(Global::Storage(Some(match class {
        "BoolStorage" => DType::Bool,
        "ByteStorage" => DType::U8,
        "CharStorage" => DType::I8,
        "ShortStorage" => DType::I16,
        "IntStorage" => DType::I32,
        "LongStorage" => DType::I64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "ComplexFloatStorage" => DType::C64,
        "ComplexDoubleStorage" => DType::C128,
        "UntypedStorage" => return Some(Global::Storage(None)),
        _ => return None,
    })))
}

fn refused(module: &str, name: &str) -> String {
    format!(
        "it asks for `{module}.{name}`, which is neither a tensor nor a plain container, and so could run code. If you trust it, load it \
         with torch.load(…, weights_only=False) and save its tensors as safetensors"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pickle: &[u8]) -> String {
        read(pickle).err().expect("the pickle was read")
    }

    #[test]
    fn plain_values() {
        let pickle =
            read(b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x05X\x01\x00\x00\x00bJ\xff\xff\xff\xffu.rest").unwrap();
        let Some(Object::Dict(pairs)) = pickle.object(pickle.value) else { panic!("no dict") };
        assert_eq!(pairs, &[(Value::Text("a"), Value::Int(5)), (Value::Text("b"), Value::Int(-1))]);
        assert_eq!(pickle.rest, b"rest");
    }

    #[test]
    fn nothing_is_called_that_is_not_known() {
        for (pickle, name) in [
            (&b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "`posix.system`"),
            (b"\x80\x02cposix\nsystem\n0N.", "`posix.system`"),
            (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "`builtins.eval`"),
            (b"(S'ls'\nios\nsystem\n.", "'S'"),
            (b"\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.", "`os.system`"),
            (b"\x80\x02ctorch\nload\n.", "`torch.load`"),
            (b"\x80\x02ctorch\nQInt8Storage\n.", "`torch.QInt8Storage`"),
            (b"\x80\x02\x82\x01.", "operation"),
        ] {
            let message = error(pickle);
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn broken_programs_are_refused() {
        for pickle in [
            &b""[..],
            b"\x80",
            b"\x80\x00.",
            b"\x80\x02.",
            b"\x80\x02(.",
            b"\x80\x02(0.",
            b"\x80\x02t.",
            b"\x80\x02Na.",
            b"\x80\x02NNs.",
            b"\x80\x02}(Nu.",
            b"\x80\x02h\x00.",
            b"\x80\x02NN\x81.",
            b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
            b"\x80\x02NNb.",
            b"\x80\x02K\x01Q.",
            b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        ] {
            assert!(read(pickle).is_err(), "{pickle:?}");
        }
    }

    #[test]
    fn deep_cyclic_and_endless_values() {
        let mut deep = b"\x80\x02N".to_vec();
        deep.resize(1_000_000, b'\x85');
        deep.push(b'.');
        assert!(read(&deep).is_ok());
        assert!(read(b"\x80\x02]q\x00h\x00a.").is_ok());
        assert!(error(&vec![b'('; MOST + 2]).contains("more than"));
        assert!(error(&[b'('; 100]).contains("cut short"));
    }
}
