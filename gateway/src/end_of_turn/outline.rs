//! The outline of an ONNX file: whether it is one at all.
//!
//! A file that was cut off, or is something else, would keep the runtime's parser busy for ever. So the outermost message
//! (`ModelProto` of onnx.proto3) is walked through first: its fields must fill the file exactly, and one is the graph.

/// The field of the graph.
const GRAPH: u64 = 7;

/// Whether the fields of a protocol-buffers message fill these bytes exactly and one of them is a graph.
pub(super) fn has_graph(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut has_graph = false;
    while !rest.is_empty() {
        let Some((field, after)) = skip_field(rest) else { return false };
        has_graph |= field == GRAPH;
        rest = after;
    }
    has_graph
}

/// The number of the first field, and what follows it.
fn skip_field(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (key, rest) = varint(bytes)?;
    let after = match key & 7 {
        0 => varint(rest)?.1,
        1 => rest.get(8..)?,
        2 => {
            let (length, rest) = varint(rest)?;
            rest.get(usize::try_from(length).ok()?..)?
        }
        5 => rest.get(4..)?,
        _ => return None,
    };
    Some((key >> 3, after))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_graph_is_told_from_everything_else() {
        // Version 8, a graph of two bytes, a float and a double nobody knows.
        let whole = [0x08, 8, 0x3a, 2, 1, 2, 0x0d, 0, 0, 0, 0, 0x09, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(has_graph(&whole) && has_graph(&whole[..6]));
        for bytes in [
            &b""[..],
            b"RIFF....WAVE",
            b"[workspace]\n",
            &[0xff; 100],
            &whole[..2],
            &[0x3a, 0xff, 0xff, 0x7f],
        ] {
            assert!(!has_graph(bytes), "{bytes:?}");
        }
        for cut in [1, 3, 4, 5, 7, 10, 12, 19] {
            assert!(!has_graph(&whole[..cut]), "{cut}");
        }
    }
}
