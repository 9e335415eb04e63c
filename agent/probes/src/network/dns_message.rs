//! The two messages of the domain name system (RFC 1035 4.1) that a look at a server needs: a question for an address, and
//! the beginning of the answer to it. What the answer says is not wanted, only that it is one and what its code is.
//!
//! The encoding is our own because whoever sits on the way to a server may send anything: reading borrows from the datagram,
//! follows no compression and allocates nothing.

use std::hash::{BuildHasher, Hasher, RandomState};

const HEADER: usize = 12;
/// The bits of the header's second word: this is a response, what kind of question, cut short, please ask on.
const RESPONSE: u16 = 0x8000;
const KIND: u16 = 0x7800;
const CUT_SHORT: u16 = 0x0200;
const ASK_ON: u16 = 0x0100;
const CODE: u16 = 0x000f;
/// Type `A` of class `IN`.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;

/// A question for the IPv4 address of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    id: u16,
    /// The name, type and class as they stand in the message.
    asked: Vec<u8>,
}

impl Question {
    /// A question with a number of its own; `None` for what cannot be a host's name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut asked = Vec::with_capacity(name.len() + 6);
        for label in name.split('.') {
            let is_plain =
                label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !is_plain || !(1..=MAX_LABEL).contains(&label.len()) {
                return None;
            }
            asked.push(u8::try_from(label.len()).ok()?);
            asked.extend_from_slice(label.as_bytes());
        }
        asked.push(0);
        if asked.len() > MAX_NAME {
            return None;
        }
        asked.extend(ADDRESS);
        // The standard library seeds its hashers at random.
        let id = RandomState::new().build_hasher().finish() as u16;
        Some(Self { id, asked })
    }

    /// The datagram that asks.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEADER + self.asked.len());
        for word in [self.id, ASK_ON, 1, 0, 0, 0] {
            datagram.extend(word.to_be_bytes());
        }
        datagram.extend_from_slice(&self.asked);
        datagram
    }

    /// The code of the answer when the datagram is a whole answer to this question.
    pub(super) fn answer(&self, datagram: &[u8]) -> Option<u8> {
        let mut rest = datagram;
        let mut header = [0; 6];
        for word in &mut header {
            *word = number(&mut rest)?;
        }
        let [id, bits, questions, records @ ..] = header;
        if id != self.id || bits & (RESPONSE | KIND) != RESPONSE {
            return None;
        }
        match questions {
            // Servers that refuse may leave the question out.
            0 => {}
            1 => {
                let (asked, after) = rest.split_at_checked(self.asked.len())?;
                // Names are equal whatever their letters' case is; lengths, type and class hold no letters.
                if !asked.eq_ignore_ascii_case(&self.asked) {
                    return None;
                }
                rest = after;
            }
            _ => return None,
        }
        if bits & CUT_SHORT == 0 {
            for _ in 0..records.iter().copied().map(u32::from).sum() {
                skip_record(&mut rest)?;
            }
        }
        u8::try_from(bits & CODE).ok()
    }
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u16::from_be_bytes(*bytes))
}

/// Steps over a record: name, type, class, time to live, and content with its length.
fn skip_record(rest: &mut &[u8]) -> Option<()> {
    loop {
        let (&length, after) = rest.split_first()?;
        match length {
            0 => {
                *rest = after;
                break;
            }
            // The rest of the name stands elsewhere.
            0xc0.. => {
                *rest = after.get(1..)?;
                break;
            }
            1..=0x3f => *rest = after.get(usize::from(length)..)?,
            0x40..=0xbf => return None,
        }
    }
    *rest = rest.get(8..)?;
    let length = number(rest)?;
    *rest = rest.get(usize::from(length)..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    /// What another implementation answers, with an address that stands at a compressed name.
    fn answered(question: &Question) -> Message {
        let asked = Message::from_vec(&question.encode()).unwrap();
        let mut reply = Message::response(asked.metadata.id, OpCode::Query);
        reply.add_queries(asked.queries.clone());
        let name = asked.queries[0].name().clone();
        reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        reply
    }

    #[test]
    fn another_implementation_understands_the_question() {
        let question = Question::of("www.iana.org").unwrap();
        let read = Message::from_vec(&question.encode()).unwrap();
        assert_eq!(read.metadata.id, question.id);
        assert_eq!(read.metadata.message_type, MessageType::Query);
        assert!(read.metadata.recursion_desired);
        assert_eq!(read.queries.len(), 1);
        assert_eq!(read.queries[0].name(), &Name::from_ascii("www.iana.org.").unwrap());
        assert_eq!(read.queries[0].query_type(), RecordType::A);
    }

    #[test]
    fn an_answer_is_one_only_whole() {
        let question = Question::of("example.com.").unwrap();
        let whole = answered(&question).to_vec().unwrap();
        assert!(whole.contains(&0xc0), "the second name is compressed");
        assert_eq!(question.answer(&whole), Some(0));
        for cut in 0..whole.len() {
            assert_eq!(question.answer(&whole[..cut]), None, "{cut}");
        }
        // But for what says itself that it was cut.
        let mut cut = whole[..whole.len() - 3].to_vec();
        cut[2] |= 0x02;
        assert_eq!(question.answer(&cut), Some(0));
    }

    #[test]
    fn only_the_answer_to_this_very_question_counts() {
        let question = Question::of("example.com").unwrap();
        let other = |change: fn(&mut Message)| {
            let mut reply = answered(&question);
            change(&mut reply);
            question.answer(&reply.to_vec().unwrap())
        };
        assert_eq!(other(|reply| reply.metadata.response_code = ResponseCode::NXDomain), Some(3));
        assert_eq!(other(|reply| reply.queries.clear()), Some(0));
        assert_eq!(other(|reply| reply.metadata.id = reply.metadata.id.wrapping_add(1)), None);
        assert_eq!(other(|reply| reply.metadata.message_type = MessageType::Query), None);
        assert_eq!(other(|reply| reply.metadata.op_code = OpCode::Notify), None);
        assert_eq!(other(|reply| reply.queries.extend(reply.queries.clone())), None);
        let named = Question { id: question.id, asked: Question::of("EXAMPLE.Com").unwrap().asked };
        assert_eq!(question.answer(&answered(&named).to_vec().unwrap()), Some(0));
        let foreign = Question { id: question.id, asked: Question::of("example.org").unwrap().asked };
        assert_eq!(question.answer(&answered(&foreign).to_vec().unwrap()), None);
    }

    #[test]
    fn what_cannot_be_a_name_is_not_asked_for() {
        let long = format!("{}.example", "a".repeat(64));
        let many = "a.".repeat(128);
        for name in ["", ".", "..", "a..b", ".a", "exämple.com", "a b", "a\0b", &long, &many] {
            assert_eq!(Question::of(name), None, "{name}");
        }
        assert!(Question::of(&"a.".repeat(127)).is_some());
        assert!(Question::of("_dns.resolver-1.arpa").is_some());
    }

    #[test]
    fn damaged_answers_do_no_harm() {
        let question = Question::of("example.com").unwrap();
        let whole = answered(&question).to_vec().unwrap();
        for at in 0..whole.len() {
            for value in 0..=u8::MAX {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = question.answer(&damaged);
            }
        }
        assert_eq!(question.answer(&[0xff; 600]), None);
    }
}
