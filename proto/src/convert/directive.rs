//! The closed list of diagnostics, between wire and model.

use super::DecodeError;
use super::value::check_size;
use crate::{limits, v1};
use firstline_model::DiagnosticRequest;
use v1::run_diagnostic::Diagnostic;

/// The wire form of a request.
pub fn diagnostic_to_wire(request_id: &str, request: &DiagnosticRequest) -> v1::RunDiagnostic {
    let diagnostic = match request {
        DiagnosticRequest::LargestDirectories { mount_point } => {
            Diagnostic::LargestDirectories(v1::LargestDirectories { mount_point: mount_point.clone() })
        }
        DiagnosticRequest::Printer { queue } => Diagnostic::Printer(v1::PrinterTest { queue: queue.clone() }),
        DiagnosticRequest::Link => Diagnostic::Link(v1::LinkTest {}),
        DiagnosticRequest::Gateway => Diagnostic::Gateway(v1::GatewayTest {}),
        DiagnosticRequest::DnsServers => Diagnostic::DnsServers(v1::DnsServersTest {}),
        DiagnosticRequest::TopProcesses => Diagnostic::TopProcesses(v1::TopProcesses {}),
        DiagnosticRequest::Service { name } => Diagnostic::Service(v1::ServiceTest { name: name.clone() }),
        DiagnosticRequest::PhysicalDisk { id } => {
            Diagnostic::PhysicalDisk(v1::PhysicalDiskTest { id: id.clone() })
        }
        DiagnosticRequest::KernelLog => Diagnostic::KernelLog(v1::KernelLog {}),
        DiagnosticRequest::Recorder { component } => {
            Diagnostic::Recorder(v1::RecorderWindow { component: component.clone() })
        }
    };
    v1::RunDiagnostic { request_id: request_id.to_owned(), diagnostic: Some(diagnostic), asked_ago_s: 0 }
}

/// The request of a directive. A diagnostic that this agent does not know is refused.
pub fn diagnostic_from_wire(message: v1::RunDiagnostic) -> Result<(String, DiagnosticRequest), DecodeError> {
    check_size("bytes in a request id", message.request_id.len(), 128)?;
    let request = match message.diagnostic.ok_or(DecodeError::Missing { what: "diagnostic" })? {
        Diagnostic::LargestDirectories(v1::LargestDirectories { mount_point }) => {
            DiagnosticRequest::LargestDirectories { mount_point }
        }
        Diagnostic::Printer(v1::PrinterTest { queue }) => DiagnosticRequest::Printer { queue },
        Diagnostic::Link(v1::LinkTest {}) => DiagnosticRequest::Link,
        Diagnostic::Gateway(v1::GatewayTest {}) => DiagnosticRequest::Gateway,
        Diagnostic::DnsServers(v1::DnsServersTest {}) => DiagnosticRequest::DnsServers,
        Diagnostic::TopProcesses(v1::TopProcesses {}) => DiagnosticRequest::TopProcesses,
        Diagnostic::Service(v1::ServiceTest { name }) => DiagnosticRequest::Service { name },
        Diagnostic::PhysicalDisk(v1::PhysicalDiskTest { id }) => DiagnosticRequest::PhysicalDisk { id },
        Diagnostic::KernelLog(v1::KernelLog {}) => DiagnosticRequest::KernelLog,
        Diagnostic::Recorder(v1::RecorderWindow { component }) => DiagnosticRequest::Recorder { component },
    };
    check_size("bytes in a parameter", request.subject().len(), limits::TEXT_BYTES)?;
    Ok((message.request_id, request))
}
