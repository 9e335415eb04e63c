//! The network in one sentence: the lowest layer that fails, and what is fine below and beside it.
//!
//! Layers hide each other: without a link there is no address, without a gateway no name server. So the first one that
//! fails is said, and those after it only where they work in spite of it. Pure.

use firstline_model::Value;

/// What is known of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Fine,
    Fails,
    /// Not asked, or asked without a clear answer.
    Unknown,
}

/// The layers from the lowest to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) link: Layer,
    pub(super) address: Layer,
    pub(super) gateway: Layer,
    pub(super) dns: Layer,
}

impl Layers {
    /// Name, how it is said to be fine, and how it is said to fail.
    fn named(&self) -> [(&'static str, Layer, &'static str, &'static str); 4] {
        [
            ("link", self.link, "the link is up", "No network link is up"),
            ("address", self.address, "there is an address", "There is no network address"),
            ("gateway", self.gateway, "the gateway answers", "The gateway does not answer"),
            ("dns", self.dns, "names are looked up", "No name server answers"),
        ]
    }

    /// The document: `fails` (a layer or nothing), `fine`, `unknown` and the sentence.
    pub(super) fn document(&self) -> Value {
        let named = self.named();
        let in_state = |wanted: Layer| {
            Value::texts(
                named.iter().filter(|layer| layer.1 == wanted).map(|layer| layer.0).collect::<Vec<_>>(),
            )
        };
        let mut pairs = vec![
            ("fine", in_state(Layer::Fine)),
            ("unknown", in_state(Layer::Unknown)),
            ("sentence", Value::from(self.sentence())),
        ];
        let fails = named.iter().find(|layer| layer.1 == Layer::Fails);
        pairs.extend(fails.map(|layer| ("fails", Value::from(layer.0))));
        Value::map(pairs)
    }

    fn sentence(&self) -> String {
        let named = self.named();
        let fine: Vec<&str> =
            named.iter().filter(|layer| layer.1 == Layer::Fine).map(|layer| layer.2).collect();
        let fine = fine.join(", ");
        match named.iter().find(|layer| layer.1 == Layer::Fails) {
            Some(layer) if fine.is_empty() => format!("{}.", layer.3),
            Some(layer) => format!("{}; {fine}.", layer.3),
            None if fine.is_empty() => "Nothing is known about the network.".to_owned(),
            None => format!("No fault is seen: {fine}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Layer::{Fails, Fine, Unknown};
    use super::*;

    fn said(link: Layer, address: Layer, gateway: Layer, dns: Layer) -> (Option<String>, String) {
        let document = Layers { link, address, gateway, dns }.document();
        let text = |name: &str| document.get(name).and_then(Value::as_text).map(str::to_owned);
        (text("fails"), text("sentence").unwrap())
    }

    #[test]
    fn the_lowest_layer_that_fails_is_said_with_what_is_fine() {
        let (fails, sentence) = said(Fine, Fine, Fails, Fails);
        assert_eq!(fails.as_deref(), Some("gateway"));
        assert_eq!(sentence, "The gateway does not answer; the link is up, there is an address.");
        assert_eq!(said(Fails, Unknown, Unknown, Unknown).1, "No network link is up.");
        let all = "No fault is seen: the link is up, there is an address, the gateway answers, names are looked up.";
        assert_eq!(said(Fine, Fine, Fine, Fine), (None, all.to_owned()));
    }

    #[test]
    fn what_is_unknown_is_neither_fine_nor_a_fault() {
        assert_eq!(
            said(Fine, Fine, Unknown, Unknown).1,
            "No fault is seen: the link is up, there is an address."
        );
        assert_eq!(said(Unknown, Unknown, Unknown, Unknown).1, "Nothing is known about the network.");
    }
}
