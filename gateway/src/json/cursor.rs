//! One forward walk over a JSON document, without allocation or recursion. [pure]
//!
//! A walker descends into the objects and arrays it cares about with [`Cursor::object`] and
//! [`Cursor::array`] and steps over everything else with [`Cursor::value`]. A strict cursor accepts
//! exactly RFC 8259; a lenient one, for upstream payloads that are relayed anyway, looks only at
//! structure, so that a `NaN` in a log probability does not end a stream.

use super::plain;
use super::text;
use super::value::{JsonError, Key, Kind, Span, Value};

/// Deepest nesting accepted. One bit per level fits the stack of [`Cursor::value`] into a word.
pub const DEPTH_MAX: u32 = 128;

/// The bytes that numbers and names are made of, and the malformed ones a lenient cursor passes.
static IN_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// A place in a document.
#[derive(Clone, Debug)]
pub struct Cursor<'d> {
    bytes: &'d [u8],
    at: usize,
    depth: u32,
    strict: bool,
}

impl<'d> Cursor<'d> {
    /// Walks a request body. Accepts RFC 8259 only; that `bytes` is UTF-8 is for the caller to check.
    pub fn strict(bytes: &'d [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
            strict: true,
        }
    }

    /// Walks an upstream payload. Checks brackets, quotes and commas, not numbers, names or escapes.
    pub fn lenient(bytes: &'d [u8]) -> Self {
        Self {
            strict: false,
            ..Self::strict(bytes)
        }
    }

    /// The kind of the next value, judged by its first byte.
    pub fn kind(&mut self) -> Kind {
        match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't') => Kind::Bool(true),
            Some(b'f') => Kind::Bool(false),
            Some(b'n') => Kind::Null,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Unknown,
        }
    }

    /// Walks the members of an object. `member` must step over the member's value, once.
    ///
    /// # Errors
    ///
    /// Where the next value is not an object, is malformed, or `member` says so.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Key<'_>) -> Result<(), E>,
    ) -> Result<Span, E> {
        let start = self.open(b'{', "expected an object")?;
        let mut after = self.at;
        let mut first = true;
        loop {
            match self.peek() {
                Some(b'}') if first => break,
                Some(b'"') => {}
                _ => return Err(self.error("expected a key").into()),
            }
            let key = self.string()?;
            let raw = key.inner().of(self.bytes);
            let unescaped = key.escaped.then(|| text::unescape(raw)).flatten();
            let name = unescaped.as_deref().unwrap_or(raw);
            if self.peek() != Some(b':') {
                return Err(self.error("expected a colon").into());
            }
            self.at += 1;
            let key = Key {
                name,
                span: key.span,
                after,
                first,
            };
            member(self, key)?;
            after = self.at;
            first = false;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.error("expected a comma or a closing brace").into()),
            }
        }
        Ok(self.close(start))
    }

    /// Walks the items of an array. `item` must step over the item, once.
    ///
    /// # Errors
    ///
    /// Where the next value is not an array, is malformed, or `item` says so.
    pub fn array<E: From<JsonError>>(
        &mut self,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), E>,
    ) -> Result<Span, E> {
        let start = self.open(b'[', "expected an array")?;
        if self.peek() == Some(b']') {
            return Ok(self.close(start));
        }
        let mut index = 0;
        loop {
            item(self, index)?;
            index += 1;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return Ok(self.close(start)),
                _ => return Err(self.error("expected a comma or a closing bracket").into()),
            }
        }
    }

    /// Steps over the next value.
    ///
    /// # Errors
    ///
    /// Where it is malformed or nested deeper than [`DEPTH_MAX`].
    #[inline]
    pub fn value(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => self.nested(),
            Some(_) => self.scalar(),
            None => Err(self.error("unexpected end")),
        }
    }

    /// Steps over the next value, whatever it is.
    ///
    /// # Errors
    ///
    /// As [`Cursor::value`].
    pub fn skip(&mut self) -> Result<(), JsonError> {
        self.value().map(|_| ())
    }

    /// Checks that nothing but whitespace is left.
    ///
    /// # Errors
    ///
    /// Where something else follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("unexpected text after the document")),
        }
    }

    /// The offset reached.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The document.
    pub fn document(&self) -> &'d [u8] {
        self.bytes
    }

    fn open(&mut self, bracket: u8, wanted: &'static str) -> Result<usize, JsonError> {
        if self.peek() != Some(bracket) {
            return Err(self.error(wanted));
        }
        if self.depth >= DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(self.at - 1)
    }

    fn close(&mut self, start: usize) -> Span {
        self.at += 1;
        self.depth -= 1;
        Span {
            start,
            end: self.at,
        }
    }

    /// The next byte that is not whitespace; the cursor stands on it afterwards.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn error(&self, reason: &'static str) -> JsonError {
        JsonError {
            at: self.at,
            reason,
        }
    }

    /// Steps over a string; the cursor stands on its opening quote.
    #[inline]
    fn string(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.at += 1;
        self.at += plain::run(self.bytes.get(self.at..).unwrap_or_default());
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.rest_of_string(start);
        }
        self.at += 1;
        let span = Span {
            start,
            end: self.at,
        };
        Ok(Value {
            kind: Kind::String,
            span,
            escaped: false,
        })
    }

    /// Steps over what is left of a string that began at `start`; the cursor stands on a byte that
    /// needs a look.
    fn rest_of_string(&mut self, start: usize) -> Result<Value, JsonError> {
        let mut escaped = false;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.error("unterminated string")),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) if self.strict => return Err(self.error("control character in a string")),
                Some(_) => self.at += 1,
            }
            self.at += plain::run(self.bytes.get(self.at..).unwrap_or_default());
        }
        self.at += 1;
        let span = Span {
            start,
            end: self.at,
        };
        Ok(Value {
            kind: Kind::String,
            span,
            escaped,
        })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        let length = match rest.first() {
            Some(b'u') if self.strict => {
                let digits = rest.get(1..5).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.error("malformed escape"));
                }
                6
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(_) if !self.strict => 2,
            _ => return Err(self.error("malformed escape")),
        };
        self.at += length;
        Ok(())
    }

    /// Steps over an object or array; one bit per open bracket, set for objects.
    fn nested(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let kind = self.kind();
        let mut objects: u128 = 0;
        let mut open: u32 = 0;
        loop {
            // The cursor stands before a value.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if self.depth + open >= DEPTH_MAX {
                        return Err(self.error("nested too deeply"));
                    }
                    let object = bracket == b'{';
                    objects = objects << 1 | u128::from(object);
                    open += 1;
                    self.at += 1;
                    match self.peek() {
                        Some(b'}') if object => {}
                        Some(b']') if !object => {}
                        Some(_) if object => {
                            self.key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                Some(b'"') => _ = self.string()?,
                Some(_) => _ = self.scalar()?,
                None => return Err(self.error("unexpected end")),
            }
            // The cursor stands behind a value, or on the bracket that closes an empty one.
            loop {
                let object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => return Err(self.error("expected a comma or a closing bracket")),
                }
                self.at += 1;
                objects >>= 1;
                open -= 1;
                if open == 0 {
                    let span = Span {
                        start,
                        end: self.at,
                    };
                    return Ok(Value {
                        kind,
                        span,
                        escaped: false,
                    });
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key"));
        }
        self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over a number or a name; the cursor stands on its first byte.
    fn scalar(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !IN_TOKEN[usize::from(*byte)])
            .unwrap_or(rest.len());
        let token = rest.get(..length).unwrap_or_default();
        let kind = match token {
            [b'-' | b'0'..=b'9', ..] if !self.strict || is_number(token) => Kind::Number,
            b"true" => Kind::Bool(true),
            b"false" => Kind::Bool(false),
            b"null" => Kind::Null,
            _ if token.is_empty() || self.strict => return Err(self.error("expected a value")),
            _ => Kind::Unknown,
        };
        self.at += length;
        let span = Span {
            start,
            end: self.at,
        };
        Ok(Value {
            kind,
            span,
            escaped: false,
        })
    }
}

/// Whether `token` is a number of RFC 8259, section 6.
fn is_number(token: &[u8]) -> bool {
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let exponent = match exponent.split_first() {
            Some((b'+' | b'-', unsigned)) => unsigned,
            _ => exponent,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}
