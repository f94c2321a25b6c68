//! SentencePiece's file: pieces with scores, and the map of characters of its normalisation.
//!
//! It is a message of protocol buffers, of which a few fields are read: pieces (1), the kind of model (2.3) and the map
//! of characters (3.2).

/// The kinds of pieces that are tokens of their own in a text.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNIGRAM: u64 = 1;

/// A model of SentencePiece.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) pieces: Vec<Piece>,
    /// Empty if the model does not normalise.
    pub(super) character_map: Vec<u8>,
}

/// A piece of the vocabulary.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    kind: u64,
}

/// A field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
    Long,
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is damaged or contains a model other than Unigram; the text says what was found.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self::default();
        while let Some((number, field)) = next(&mut bytes)? {
            match (number, field) {
                (1, Field::Bytes(piece)) => model.pieces.push(Piece::read(piece)?),
                (2, Field::Bytes(trainer)) => check_kind(trainer)?,
                (3, Field::Bytes(normalizer)) => model.character_map = character_map(normalizer)?.to_vec(),
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            Err("no pieces found, expected a model of SentencePiece".into())
        } else {
            Ok(model)
        }
    }

    /// Returns the pieces that are tokens of their own in a text.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(|piece| [CONTROL, USER_DEFINED].contains(&piece.kind))
    }
}

impl Piece {
    fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: 1 };
        while let Some((number, field)) = next(&mut bytes)? {
            match (number, field) {
                (1, Field::Bytes(text)) => {
                    let text = std::str::from_utf8(text).map_err(|err| format!("a piece is not UTF-8: {err}"))?;
                    piece.text = text.to_owned();
                }
                (2, Field::Float(score)) => piece.score = score,
                (3, Field::Number(kind)) => piece.kind = kind,
                _ => {}
            }
        }
        Ok(piece)
    }

    /// Returns true for a token that no text should contain, such as the beginning of a sequence.
    pub(super) fn is_control(&self) -> bool {
        self.kind == CONTROL
    }
}

/// Rejects a model that has no scores for pieces.
fn check_kind(mut trainer: &[u8]) -> Result<(), String> {
    while let Some((number, field)) = next(&mut trainer)? {
        if let (3, Field::Number(kind)) = (number, field)
            && kind != UNIGRAM
        {
            return Err(format!("found a model of kind {kind}, expected 1, which is Unigram"));
        }
    }
    Ok(())
}

fn character_map(mut normalizer: &[u8]) -> Result<&[u8], String> {
    let mut map: &[u8] = &[];
    while let Some((number, field)) = next(&mut normalizer)? {
        if let (2, Field::Bytes(found)) = (number, field) {
            map = found;
        }
    }
    Ok(map)
}

/// Takes the next field from a message: its number and its content.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u64, Field<'a>)>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let key = varint(bytes)?;
    let field = match key & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Field::Long)?,
        2 => {
            let length = varint(bytes)?;
            Field::Bytes(take(bytes, usize::try_from(length).unwrap_or(usize::MAX))?)
        }
        5 => {
            let mut float = [0; 4];
            float.copy_from_slice(take(bytes, 4)?);
            Field::Float(f32::from_le_bytes(float))
        }
        other => return Err(format!("found a field of type {other}, expected a model of SentencePiece")),
    };
    Ok(Some((key >> 3, field)))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("found a number of more than 64 bits, expected a model of SentencePiece".into())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("the file ends in the middle of a field")?;
    *bytes = rest;
    Ok(taken)
}
