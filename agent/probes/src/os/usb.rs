//! USB ports that trouble was logged for. A fault is one line of the kernel's log, but lasts until the device works or is
//! gone: it is reported at every look until then.
//!
//! A device is known by its port: what is wrong is often the port or its cable, and such a device may not tell its name.

use crate::Sink;
use crate::kernel_log::classify::UsbFault;
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind};
use std::collections::BTreeMap;

/// More ports than this are not followed; anybody may write lines to the log.
const MAX_PORTS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Ports {
    failing: BTreeMap<String, UsbFault>,
}

impl Ports {
    pub(super) fn disconnected(&self, port: &str, sink: &mut Sink) {
        if let Some(device) = device(port) {
            sink.event(&device, semconv::USB_DISCONNECTS, Attributes::none());
        }
    }

    pub(super) fn fails(&mut self, port: String, fault: UsbFault) {
        if self.failing.len() < MAX_PORTS || self.failing.contains_key(&port) {
            self.failing.insert(port, fault);
        }
    }

    /// The device works or is gone; either ends its fault.
    pub(super) fn works(&mut self, port: &str, sink: &mut Sink) {
        if let Some(fault) = self.failing.remove(port) {
            problem(port, fault, 0.0, sink);
        }
    }

    pub(super) fn report(&self, sink: &mut Sink) {
        for (port, fault) in &self.failing {
            problem(port, *fault, 1.0, sink);
        }
    }
}

fn problem(port: &str, fault: UsbFault, value: f64, sink: &mut Sink) {
    if let Some(device) = device(port) {
        let attributes =
            Attributes::none().with(attribute::CLASS, "usb").with(attribute::CODE, fault.as_str());
        sink.sample(&device, semconv::DEVICE_PROBLEM, attributes, value);
    }
}

fn device(port: &str) -> Option<Component> {
    Component::new(ComponentKind::Device, format!("usb {port}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::Timestamp;

    #[test]
    fn a_fault_lasts_until_the_device_works_or_is_gone() {
        let mut ports = Ports::default();
        let looked = |ports: &mut Ports, act: &dyn Fn(&mut Ports, &mut Sink)| {
            let mut sink = Sink::new(Timestamp::from_millis(0));
            act(ports, &mut sink);
            ports.report(&mut sink);
            sink.into_parts().0.len()
        };
        assert_eq!(looked(&mut ports, &|ports, _| ports.fails("1-2".to_owned(), UsbFault::NoDescriptor)), 1);
        assert_eq!(looked(&mut ports, &|_, _| ()), 1);
        assert_eq!(looked(&mut ports, &|ports, sink| ports.works("1-2", sink)), 1);
        assert_eq!(looked(&mut ports, &|_, _| ()), 0);
        let many = |ports: &mut Ports, _: &mut Sink| {
            (0..999).for_each(|n| ports.fails(format!("1-{n}"), UsbFault::OverCurrent));
        };
        assert_eq!(looked(&mut ports, &many), MAX_PORTS);
    }
}
