//! Pages of an agent's answers: joined, and what another program wrote in them cleaned once.

use gpu_session_api::{Allocation, Allocations, Device, Devices, Session, Sessions, Source};
use gpu_session_core::text::{clean, clean_value};

/// A document with a list that comes in pages.
pub(super) trait Listed {
    /// When the sample was taken, Unix seconds.
    fn time(&self) -> f64;
    /// How many are listed.
    fn len(&self) -> usize;
    /// Takes the next page in.
    fn join(&mut self, page: Self);
    /// Cleans every text in it.
    fn clean(&mut self);
}

macro_rules! listed {
    ($document:ty, $list:ident, $text:ident $(, $own:ident)?) => {
        impl Listed for $document {
            fn time(&self) -> f64 {
                self.timestamp
            }

            fn len(&self) -> usize {
                self.$list.len()
            }

            fn join(&mut self, page: Self) {
                self.$list.extend(page.$list);
            }

            fn clean(&mut self) {
                $(all([], [&mut self.$own]);)?
                self.sources.iter_mut().for_each(source);
                self.$list.iter_mut().for_each($text);
            }
        }
    };
}

listed!(Devices, devices, device, driver_version);
listed!(Sessions, sessions, session);
listed!(Allocations, allocations, allocation);

fn all<const N: usize, const M: usize>(texts: [&mut String; N], may_be: [&mut Option<String>; M]) {
    let present = may_be.into_iter().filter_map(Option::as_mut);
    texts.into_iter().chain(present).for_each(|text| *text = clean(text));
}

fn source(source: &mut Source) {
    let Source { source, errors, up: _, duration_seconds: _ } = source;
    all([source], []);
    for error in errors {
        *error = clean_value(error);
    }
}

fn session(session: &mut Session) {
    let Session { session: name, gpu, device_uuid, mig_profile, command, user, user_rule, .. } = session;
    all([name, gpu, device_uuid], [mig_profile, command, user, user_rule]);
    let Session { namespace, pod, container, pod_uid, container_id, place, attributed_by, .. } = session;
    all([], [namespace, pod, container, pod_uid, container_id, place, attributed_by]);
}

fn device(device: &mut Device) {
    let Device { gpu, uuid, parent_uuid, model, mig_profile, pci_bus_id, users, unattributed, .. } = device;
    all([gpu, uuid], [parent_uuid, model, mig_profile, pci_bus_id]);
    users.iter_mut().flatten().for_each(|of| of.user = clean(&of.user));
    unattributed.iter_mut().flatten().for_each(|of| of.reason = clean(&of.reason));
}

fn allocation(held: &mut Allocation) {
    let Allocation { gpu, device_uuid, namespace, pod, container, user, sessions: _, idle_seconds: _ } = held;
    all([gpu, device_uuid, namespace, pod, container], [user]);
}
