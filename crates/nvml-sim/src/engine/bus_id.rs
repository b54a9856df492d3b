//! PCI bus ids.

use std::fmt;

/// A PCI bus id; GPUs have function 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BusId {
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u32,
    /// Device.
    pub device: u32,
}

impl BusId {
    /// The form with a domain of four digits, cut as the driver cuts it.
    pub fn legacy(self) -> String {
        format!("{:04X}:{:02X}:{:02X}.0", self.domain & 0xffff, self.bus, self.device)
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}:{:02X}:{:02X}.0", self.domain, self.bus, self.device)
    }
}

/// Takes the three forms of `nvmlDeviceGetHandleByPciBusId`: with and without domain, with and without function.
pub fn parse_bus_id(text: &str) -> Option<BusId> {
    let (rest, function) =
        text.split_once('.').map_or((text, None), |(rest, function)| (rest, Some(function)));
    let parts: Option<Vec<u32>> = rest.split(':').map(|part| u32::from_str_radix(part, 16).ok()).collect();
    let (domain, bus, device) = match (parts?.as_slice(), function) {
        ([domain, bus, device], _) => (*domain, *bus, *device),
        ([bus, device], Some(_)) => (0, *bus, *device),
        _ => return None,
    };
    let plain = function.is_none_or(|function| function == "0") && bus <= 0xff && device <= 0x1f;
    plain.then_some(BusId { domain, bus, device })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let id = BusId { domain: 0, bus: 0x1b, device: 0 };
        for text in ["00000000:1B:00.0", "0000:1b:00.0", "0:1b:0", "1B:00.0"] {
            assert_eq!(parse_bus_id(text), Some(id), "{text}");
        }
        for text in ["", "1b:00", "0:1b:00.1", "0:1b:20.0", "0:100:00.0", "0:1b:00.x", "a:b:c:d"] {
            assert_eq!(parse_bus_id(text), None, "{text}");
        }
        assert_eq!(id.to_string(), "00000000:1B:00.0");
        assert_eq!(id.legacy(), "0000:1B:00.0");
    }
}
