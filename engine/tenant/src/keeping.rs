// SPDX-License-Identifier: EUPL-1.2
//! Checks what a tenant says about keeping: periods and receipts. Touches nothing but memory.

use crate::{
    check::Check,
    retention::{FristDatei, sensible},
};

impl Check<'_> {
    /// Periods are within bounds, and receipts can arrive at all.
    pub(crate) fn keeping(&mut self) {
        let own = &self.read.aufbewahrung;
        self.periods(&["aufbewahrung"], own.inhalte_tage, own.metadaten_tage, own.zustand.values());
        for (n, route) in self.read.route.iter().enumerate() {
            let Some(keeping) = &route.aufbewahrung else { continue };
            let n = n.to_string();
            let keys = ["route", n.as_str(), "aufbewahrung"];
            self.periods(&keys, keeping.inhalte_tage, keeping.metadaten_tage, keeping.zustand.values());
            for demand in &keeping.loeschen_erst {
                let (receiver, _) = demand.parts();
                if !route.ziel.iter().any(|target| target.empfaenger.iter().any(|key| key == receiver)) {
                    let problem = self
                        .at(
                            "KOP-K030",
                            &[keys[0], keys[1], keys[2], "loeschen_erst"],
                            format!(
                                "Der Weg „{}“ wartet mit dem Löschen auf „{receiver}“, sendet aber nichts dorthin.",
                                route.name
                            ),
                            format!(
                                "The route \"{}\" waits for \"{receiver}\" before it deletes, but sends nothing there.",
                                route.name
                            ),
                        )
                        .with_hint("Unter loeschen_erst stehen Empfänger aus den Zielen desselben Wegs.");
                    self.problems.push(problem);
                }
            }
        }
    }

    fn periods<'a>(
        &mut self,
        keys: &[&str],
        inhalte: Option<u32>,
        metadaten: Option<u32>,
        by_outcome: impl Iterator<Item = &'a FristDatei>,
    ) {
        let mut by_outcome = by_outcome;
        let fine = sensible(inhalte, metadaten)
            && by_outcome.all(|period| sensible(period.inhalte_tage, period.metadaten_tage));
        if !fine {
            let problem = self
                .at(
                    "KOP-K030",
                    keys,
                    "Die Fristen passen nicht zusammen.".into(),
                    "The periods do not fit together.".into(),
                )
                .with_hint("Tage von 1 bis 36525; Inhalte werden nicht später gelöscht als Metadaten.");
            self.problems.push(problem);
        }
    }
}
