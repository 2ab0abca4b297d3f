//! Character sets as Mailcow's Dovecot knows them: it runs on Alpine, and asks musl's `iconv` (1.2.3 was tried).
//!
//! musl knows fewer names than glibc and the WHATWG (no `windows-874`, `ks_c_5601-1987`, `x-sjis`, `macintosh`), and of a
//! name it reads letters and digits only.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, IBM866, ISO_2022_JP, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5,
    ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, ISO_8859_16, KOI8_R,
    KOI8_U, SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253,
    WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

/// How bytes become characters.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// One byte is one character; 0x80 to 0x9F are the control characters of that number.
    Iso(&'static Encoding),
    /// One byte is one character; a byte that stands for none is none.
    Windows(&'static Encoding),
    /// One byte is one character, from 0x80 on these.
    Dos(&'static str),
    Koi8u,
    /// Several bytes can be one character.
    Wide(&'static Encoding),
    /// One byte of ASCII is one character, and two bytes from this one on are.
    Pairs {
        from: u8,
    },
    Utf32 {
        is_big_endian: bool,
    },
}

const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP850: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// The text in UTF-8, with U+FFFD, once, for bytes that mean nothing; `None` when the character set is not known.
pub(super) fn to_utf8(name: &[u8], bytes: &[u8]) -> Option<String> {
    Some(match charset(name)? {
        Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Charset::Ascii => each(bytes, |byte| if byte.is_ascii() { char::from(byte) } else { UNKNOWN }),
        Charset::Latin1 => each(bytes, char::from),
        Charset::Iso(encoding) => each(bytes, |byte| match byte {
            0x80..=0x9f => char::from(byte),
            byte => single(encoding, byte),
        }),
        Charset::Windows(encoding) => each(bytes, |byte| match single(encoding, byte) {
            // musl leaves the last one open too.
            '\u{80}'..='\u{9f}' | '\u{5ba}' => UNKNOWN,
            c => c,
        }),
        Charset::Koi8u => each(bytes, |byte| match byte {
            // The WHATWG has the Belarusian ў here; RFC 2319 and musl do not.
            0xae => '╝',
            0xbe => '╬',
            byte => single(KOI8_U, byte),
        }),
        Charset::Dos(upper) => each(bytes, |byte| match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(n) => upper.chars().nth(usize::from(n)).unwrap_or(UNKNOWN),
        }),
        Charset::Wide(encoding) => wide(encoding, bytes),
        Charset::Pairs { from } => pairs(bytes, from),
        Charset::Utf32 { is_big_endian } => utf32(bytes, is_big_endian),
    })
}

const UNKNOWN: char = char::REPLACEMENT_CHARACTER;

fn each(bytes: &[u8], one: impl Fn(u8) -> char) -> String {
    bytes.iter().map(|byte| one(*byte)).collect()
}

fn single(encoding: &'static Encoding, byte: u8) -> char {
    encoding.decode_without_bom_handling(&[byte]).0.chars().next().unwrap_or(UNKNOWN)
}

/// Bytes at the end that are only the beginning of a character are dropped, as Dovecot does.
fn wide(encoding: &'static Encoding, bytes: &[u8]) -> String {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
    let _ = decoder.decode_to_string(bytes, &mut text, false);
    text
}

/// Chinese of the mainland. A byte that begins no character is none, and the next one may begin one.
fn pairs(mut bytes: &[u8], from: u8) -> String {
    let mut text = String::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        if first.is_ascii() {
            text.push(char::from(*first));
            continue;
        }
        let Some((second, after)) = rest.split_first() else { break };
        let is_pair = *first >= from && (from < 0xa1 || *second >= from);
        let pair = [*first, *second];
        let decoded = || GBK.decode_without_bom_handling_and_without_replacement(&pair);
        match if is_pair { decoded() } else { None } {
            Some(character) => {
                text.push_str(&character);
                bytes = after;
            }
            None => text.push(UNKNOWN),
        }
    }
    text
}

fn utf32(bytes: &[u8], is_big_endian: bool) -> String {
    let number = |four: &[u8; 4]| if is_big_endian { u32::from_be_bytes(*four) } else { u32::from_le_bytes(*four) };
    bytes.as_chunks().0.iter().map(|four| char::from_u32(number(four)).unwrap_or(UNKNOWN)).collect()
}

/// The character set of this name.
fn charset(name: &[u8]) -> Option<Charset> {
    use Charset::{Ascii, Dos, Iso, Koi8u, Latin1, Pairs, Utf8, Utf32, Wide, Windows};
    if !name.last()?.is_ascii_alphanumeric() {
        return None;
    }
    let letters = name.iter().filter(|b| b.is_ascii_alphanumeric());
    let name: String = letters.map(|b| char::from(b.to_ascii_lowercase())).collect();
    Some(match name.as_str() {
        "utf8" | "char" => Utf8,
        "ascii" | "usascii" | "iso646" | "iso646us" => Ascii,
        "iso88591" | "latin1" => Latin1,
        "iso88592" => Iso(ISO_8859_2),
        "iso88593" => Iso(ISO_8859_3),
        "iso88594" => Iso(ISO_8859_4),
        "iso88595" => Iso(ISO_8859_5),
        "iso88596" => Iso(ISO_8859_6),
        "iso88597" => Iso(ISO_8859_7),
        "iso88598" => Iso(ISO_8859_8),
        "iso88599" => Iso(WINDOWS_1254),
        "iso885910" => Iso(ISO_8859_10),
        "iso885911" | "tis620" => Iso(WINDOWS_874),
        "iso885913" => Iso(ISO_8859_13),
        "iso885914" => Iso(ISO_8859_14),
        "iso885915" | "latin9" => Iso(ISO_8859_15),
        "iso885916" => Iso(ISO_8859_16),
        "windows1250" | "cp1250" => Windows(WINDOWS_1250),
        "windows1251" | "cp1251" => Windows(WINDOWS_1251),
        "windows1252" | "cp1252" => Windows(WINDOWS_1252),
        "windows1253" | "cp1253" => Windows(WINDOWS_1253),
        "windows1254" | "cp1254" => Windows(WINDOWS_1254),
        "windows1255" | "cp1255" => Windows(WINDOWS_1255),
        "windows1256" | "cp1256" => Windows(WINDOWS_1256),
        "windows1257" | "cp1257" => Windows(WINDOWS_1257),
        "windows1258" | "cp1258" => Windows(WINDOWS_1258),
        "koi8r" => Windows(KOI8_R),
        "koi8u" => Koi8u,
        "cp866" => Windows(IBM866),
        "cp437" => Dos(CP437),
        "cp850" => Dos(CP850),
        "eucjp" => Wide(EUC_JP),
        "shiftjis" | "sjis" => Wide(SHIFT_JIS),
        "iso2022jp" => Wide(ISO_2022_JP),
        "gb18030" => Wide(GB18030),
        "gbk" => Pairs { from: 0x81 },
        "gb2312" => Pairs { from: 0xa1 },
        "big5" | "bigfive" | "big5hkscs" | "cp950" => Wide(BIG5),
        "euckr" | "ksc5601" | "ksx1001" | "cp949" => Wide(EUC_KR),
        "utf16" | "utf16be" | "ucs2" | "ucs2be" => Wide(UTF_16BE),
        "utf16le" | "ucs2le" => Wide(UTF_16LE),
        "utf32" | "utf32be" | "ucs4" | "ucs4be" => Utf32 { is_big_endian: true },
        "utf32le" | "ucs4le" => Utf32 { is_big_endian: false },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, bytes: &[u8]) -> Option<String> {
        to_utf8(name.as_bytes(), bytes)
    }

    #[test]
    fn of_a_name_letters_and_digits_count() {
        for name in ["ISO-8859-1", "iso_8859-1", "latin-1", "Latin1"] {
            assert_eq!(shown(name, b"\xfc").as_deref(), Some("ü"), "{name}");
        }
        for name in ["iso-8859-1-", "iso-8859-1:1987", "l1", "", "windows-874", "ks_c_5601-1987", "x-sjis", "ibm866"] {
            assert_eq!(shown(name, b"\xfc"), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_read_as_the_character_set_has_them_and_what_is_none_is_unknown() {
        for (name, bytes, text) in [
            ("iso-8859-9", &b"\x80\xfd"[..], "\u{80}ı"),
            ("windows-1254", b"\x80\xfd", "€ı"),
            ("windows-1252", b"\x81\x80", "\u{fffd}€"),
            ("us-ascii", b"a\xfc", "a\u{fffd}"),
            ("cp437", b"\x80\xff", "Ç\u{a0}"),
            ("cp850", b"\xd5", "ı"),
            ("shift_jis", b"a\x93\xfa\x93", "a日"),
            ("utf-16", b"\x00a\x00", "a"),
            ("gb2312", b"a\xb6\xa9\x81\xb6\xa9\xb4\x5f\xb6", "a订\u{fffd}订\u{fffd}_"),
            ("gbk", b"\x80\xb4\x5f", "\u{fffd}確"),
            ("ucs-4le", b"a\0\0\0\0\0\x11\0b", "a\u{fffd}"),
        ] {
            assert_eq!(shown(name, bytes).as_deref(), Some(text), "{name}");
        }
    }
}
