"""The stylesheet of the user interface: JupyterLab's colours, with fallbacks for other front ends."""

# ruff: noqa: E501  (a rule is one line)
from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """<style>
.wb-root { container-type: inline-size; --wb-gap: 12px; --wb-border: var(--jp-border-color2, #ddd);
  --wb-muted: var(--jp-ui-font-color2, #666); --wb-error: var(--jp-error-color1, #c62828); --wb-accent: var(--jp-brand-color1, #1976d2);
  color: var(--jp-ui-font-color1, inherit); overflow: hidden; padding: 2px; }
.wb-root .widget-html-content, .wb-root .jupyter-widgets { font-size: 12px; line-height: 1.4; }
/* JupyterLab's dark theme leaves what the browser draws light, and ipywidgets' arrow of a drop-down black */
[data-jp-theme-light="false"] .wb-root { color-scheme: dark; --jp-widgets-dropdown-arrow: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E%3Cpath fill='%23bbb' d='M5.2 5.9L9 9.7l3.8-3.8 1.2 1.2-4.9 5-4.9-5z'/%3E%3C/svg%3E"); }
/* without a kernel: one sentence instead of an icon at each part */
.wb-root .jupyter-widgets-disconnected::before { content: none !important; }
.wb-root.jupyter-widgets-disconnected::before { content: "Not connected to a kernel: this is how the workbench was left. Run the cell again (Shift+Enter) to go on; every trial is in the log." !important;
  display: block; float: none; margin: 0 0 8px; padding: 6px 10px; border-radius: 6px; border-left: 3px solid var(--jp-warn-color1, #ef6c00); background: var(--jp-layout-color2, #f3f3f3);
  color: var(--jp-ui-font-color1, inherit); font: 12px/1.4 var(--jp-ui-font-family, sans-serif); white-space: normal; position: static; }
.wb-root.jupyter-widgets-disconnected > * { pointer-events: none; opacity: .6; }
/* the picture for readers without a kernel, in the output after the widget's */
.jp-OutputArea-child:has(.wb-root) + .jp-OutputArea-child { display: none; }
.wb-body { display: grid !important; grid-template-columns: 324px minmax(0, 1fr); gap: var(--wb-gap); overflow: visible; }
.wb-side { align-self: start; overflow: hidden; border: 1px solid var(--wb-border); border-radius: 6px; padding: 4px 10px 8px; }
.wb-main { min-width: 0; overflow: hidden; gap: 8px; }
.wb-controls, .wb-section { overflow: visible; }
.wb-section { margin-bottom: 4px; }
.wb-heading { font-weight: 600; font-size: 11px; letter-spacing: .05em; text-transform: uppercase; color: var(--wb-muted);
  border-bottom: 1px solid var(--wb-border); margin: 8px 0 4px; padding-bottom: 2px; }
.wb-field { display: grid; grid-template-columns: 122px minmax(0, 1fr) 20px; align-items: center; column-gap: 8px; min-height: 28px; overflow: visible; }
.wb-field > * { margin: 0 !important; }
.wb-label { white-space: nowrap; cursor: help; }
.wb-symbol { color: var(--wb-muted); font-family: Georgia, serif; }
.wb-live { font-size: 9px; line-height: 1; padding: 1px 4px; margin-left: 4px; border-radius: 7px; border: 1px solid var(--wb-accent); color: var(--wb-accent); vertical-align: 1px; }
.wb-input { display: flex; align-items: center; gap: 6px; min-width: 0; overflow: visible; }
.wb-input > * { margin: 0 !important; }
.wb-input .widget-slider, .wb-input .widget-hslider { flex: 1 1 0; width: auto; min-width: 0; }
.wb-input .widget-html { flex: 1 1 0; }
.wb-input .wb-number { flex: 0 0 72px; width: 72px; }
.wb-input .wb-switch { flex: 0 0 16px; width: 16px; }
.wb-input .widget-dropdown { flex: 1 1 0; width: auto; min-width: 0; }
.wb-number input { text-align: right; font-variant-numeric: tabular-nums; }
.wb-toggle.jupyter-button { width: 20px; height: 20px; line-height: 20px; padding: 0; border-radius: 3px; background: transparent; color: var(--wb-muted); opacity: .45; box-shadow: none; font-size: 11px; }
.wb-field:hover .wb-toggle, .wb-toggle:focus-visible, .wb-toggle.mod-active { opacity: 1; }
.wb-toggle.mod-active.jupyter-button { background: var(--wb-accent); color: #fff; }
.wb-toggle.jupyter-button { display: flex; align-items: center; justify-content: center; } .wb-toggle i.fa { margin: 0 !important; }
.wb-range .wb-number { flex: 1 1 0; width: auto; min-width: 0; } .wb-range.wb-input { gap: 4px; } .wb-range .wb-number input { padding: 0 5px; text-align: left; } .wb-to { flex: none !important; color: var(--wb-muted); font-size: 11px; }
.wb-input.wb-range .wb-to { flex: none; }
.wb-options-list { display: grid; grid-template-columns: minmax(0, 1fr); padding: 2px 0; }
.wb-option { width: auto !important; height: 20px; } .wb-option label { font-size: 12px; gap: 3px; width: auto; padding: 0; }
.wb-option .widget-label-basic { width: auto; }
.wb-problem:not(:has([role=alert])) { display: none; }
.wb-problem { grid-column: 1 / -1; color: var(--wb-error); }
.wb-problem .widget-html-content { font-size: 11px; line-height: 1.35; white-space: normal; overflow-wrap: anywhere; padding: 1px 0 3px; }
.wb-preview svg { width: 100%; height: 52px; display: block; color: var(--wb-accent); }
.wb-caption { color: var(--wb-muted); font-size: 11px; white-space: normal; }
.wb-nopreview { height: 68px; }
.wb-panel { overflow: visible; border: 1px solid var(--wb-border); border-radius: 6px; padding: 8px 10px; }
.wb-panel > * { margin: 0 !important; }
.wb-toprow { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; overflow: visible; }
.wb-buttons, .wb-options, .wb-labelled, .wb-tablebar { display: flex; gap: 6px; align-items: center; overflow: visible; }
.wb-options { flex: 1 1 260px; min-width: 0; }
.wb-buttons .jupyter-button { width: 96px; margin: 0; }
.wb-buttons .wb-train { background: var(--wb-accent); color: #fff; font-weight: 600; width: 108px; }
.wb-name { flex: 1 1 90px; min-width: 60px; width: auto; margin: 0; }
.wb-labelled > * { margin: 0; } .wb-labelled { flex: none; }
.wb-labelled .widget-text { width: 56px; } .wb-labelled .widget-dropdown { width: 78px; }
.wb-labelled .widget-html-content { color: var(--wb-muted); }
.wb-progress { width: 100%; height: 6px; margin: 8px 0 4px !important; }
.wb-progress .progress { height: 6px !important; border-radius: 3px; }
.wb-progress .progress-bar { transition: none; background: var(--wb-accent); }
.wb-status { min-height: 18px; font-variant-numeric: tabular-nums; }
.wb-message { min-height: 0; }
/* what comes and goes under the buttons has its place, so that nothing below it jumps */
.wb-slot { min-height: 38px; margin-top: 4px !important; justify-content: center; overflow: visible; } .wb-slot > * { margin: 0 !important; }
.wb-bar { display: flex; gap: 10px; align-items: center; overflow: visible; border-left: 3px solid var(--wb-accent); padding: 1px 0 1px 8px; }
.wb-bar > * { margin: 0; } .wb-bar-words { flex: 1 1 0; min-width: 0; } .wb-bar-words .widget-html-content { line-height: 17px; }
.wb-bar-words div[role=status] { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.wb-buttons .wb-close.jupyter-button { width: 28px; padding: 0; } .wb-close i.fa { margin: 0; }
.wb-banner { display: flex; gap: 10px; align-items: center; overflow: visible; border-left: 3px solid var(--jp-warn-color1, #ef6c00); padding: 2px 0 2px 8px; margin-bottom: 8px !important; }
.wb-banner > * { margin: 0; } .wb-banner > :first-child { flex: 1 1 0; min-width: 0; } .wb-banner .widget-html-content { white-space: normal; }
.wb-resume.jupyter-button { width: auto; }
.wb-good, .wb-verdict { overflow-wrap: anywhere; white-space: normal; padding-left: 8px; margin-top: 2px; border-left: 3px solid var(--wb-border); }
.wb-good { border-left-color: var(--jp-success-color1, #2e7d32); color: var(--jp-success-color1, #2e7d32); }
.wb-error { color: var(--wb-error); white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid var(--wb-error); padding-left: 8px; margin-top: 4px; }
.wb-note { color: var(--wb-muted); overflow-wrap: anywhere; margin-top: 4px; white-space: normal; }
.wb-hint { color: var(--wb-muted); }
.wb-root pre.wb-code, .wb-root pre.wb-call { background: var(--jp-layout-color2, #f3f3f3); padding: 8px 10px; border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; user-select: all; margin: 4px 0 0; }
.wb-table { overflow: hidden; min-width: 0; }
.wb-tablebar { flex-wrap: wrap; padding: 4px 0; } .wb-tablebar > * { margin: 0; }
.wb-tablebar .widget-text { flex: 1 1 90px; width: auto; min-width: 70px; } .wb-tablebar .jupyter-button { width: auto; }
.wb-tablehint { display: flex; gap: 8px; align-items: center; min-height: 28px; overflow: visible; } .wb-tablehint > * { margin: 0; } .wb-tablehint .jupyter-button { width: auto; height: 24px; line-height: 24px; }
.wb-tablebuttons { padding-bottom: 0; } .wb-tablebuttons > :last-child { margin-left: auto; }
.wb-history { overflow: visible; } .wb-history > * { margin: 0; } .wb-history .wb-toprow { min-height: 32px; }
.wb-history > :first-child .wb-heading { margin-top: 0; } .wb-used { flex: 1 1 240px; min-width: 0; margin: 0; }
.wb-used .widget-html-content > div:last-child { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.wb-meter { height: 4px; border-radius: 2px; background: var(--jp-layout-color2, #eee); overflow: hidden; margin-bottom: 3px; } .wb-meter i { display: block; height: 100%; background: var(--wb-accent); }
.wb-unit { margin: 0 0 0 -8px; color: var(--wb-muted); }
.wb-history .widget-select-multiple, .wb-trash { width: 100%; height: auto; } .wb-trash select { width: 100%; font: inherit; font-size: 12px; }
.wb-danger.jupyter-button { background: var(--wb-error); color: #fff; }
.wb-facts { border-collapse: collapse; } .wb-facts caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
.wb-facts th { text-align: left; color: var(--wb-muted); font-weight: 400; padding: 2px 14px 2px 0; vertical-align: top; }
.wb-facts td { white-space: normal; text-align: left; padding: 2px 0; }
.wb-search { gap: 6px; }
.wb-search-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 6px 16px; overflow: visible; }
.wb-search-grid .wb-labelled > :first-child { width: 80px; flex: none; } .wb-search-grid .widget-dropdown, .wb-search-grid .widget-text { flex: 1 1 0; width: auto; min-width: 0; }
.wb-search-row { display: flex; gap: 12px; align-items: center; overflow: visible; } .wb-search-row > * { margin: 0; }
.wb-space { flex: 1 1 0; min-width: 0; } .wb-space .widget-html-content, .wb-about .widget-html-content { white-space: normal; }
.wb-range-words { flex: 1 1 0; min-width: 0; min-height: 54px; } .wb-range-words .widget-html-content { white-space: normal; }
.wb-compare { gap: 4px; overflow: hidden; } .wb-compare .wb-labelled .widget-dropdown { width: 170px; } .wb-compare .wb-options { flex-wrap: wrap; }
.wb-plain { overflow: hidden; width: 100%; } .wb-plain > * { flex: 1 1 0; min-width: 0; margin: 0; }
.wb-picture { max-width: 100%; height: auto; object-fit: contain; align-self: flex-start; background: #fff; border-radius: 4px; }
/* a figure of matplotlib is drawn for light paper: turned over, with its hues kept */
[data-jp-theme-light="false"] .wb-root .wb-picture { filter: invert(.9) hue-rotate(180deg); }
.wb-edge { display: flex; gap: 10px; align-items: center; border-left: 3px solid var(--jp-warn-color1, #ef6c00); padding: 2px 8px; margin: 2px 0; overflow: visible; }
.wb-edge > :first-child { flex: 1 1 0; min-width: 0; } .wb-edge .widget-html-content { white-space: normal; } .wb-widen { width: auto !important; flex: none; }
.wb-layers { overflow: visible; gap: 4px; } .wb-layers > * { margin: 0; }
.wb-layers-caption { flex: 1 1 260px; min-width: 0; margin: 0; font-variant-numeric: tabular-nums; } .wb-layers > .wb-toprow { min-height: 36px; } .wb-layers > .wb-toprow .wb-options { flex: none; }
.wb-layers-caption .widget-html-content { white-space: normal; } .wb-layers .wb-options .jupyter-button { width: auto; }
.wb-layers-both { display: flex; flex-wrap: wrap; gap: 12px 20px; align-items: flex-start; overflow: visible; } .wb-layers-both > * { margin: 0; }
.wb-plane { display: block; position: relative; flex: none; width: 308px; overflow: visible; } .wb-plane > * { margin: 0; }
.wb-plane-raster { position: absolute; left: 40px; top: 8px; width: 256px; height: 256px; max-width: none; } .wb-plane-over { position: relative; height: auto; }
.wb-plane-frame { display: block; overflow: visible; } .wb-plane-frame text { font-size: 11px; fill: var(--wb-muted); }
.wb-plane-train, .wb-plane-validation, .wb-plane-hole { fill: none; stroke-linecap: round; } .wb-plane-train { stroke-width: 4px; } .wb-plane-validation { stroke-width: 6px; } .wb-plane-hole { stroke: var(--jp-layout-color1, #fff); stroke-width: 3px; }
.wb-plane-legend { color: var(--wb-muted); font-size: 11px; white-space: normal; padding-left: 40px; } .wb-plane-legend i { display: inline-block; width: 9px; height: 9px; border-radius: 5px; margin: 0 4px 0 0; } .wb-plane-legend span { margin-left: 8px; }
.wb-layer-list { flex: 1 1 400px; min-width: 0; height: auto; } .wb-layer-grid { display: grid; gap: 3px 14px; }
.wb-layer-stage { color: var(--wb-muted); font-size: 11px; line-height: 14px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.wb-layer-name { grid-column: 1 / -1; line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; border-top: 1px solid var(--wb-border); padding-top: 3px; } .wb-layer-name span { color: var(--wb-muted); margin-left: 10px; }
.wb-layer-grid svg { display: block; width: 100%; max-width: 170px; overflow: visible; } .wb-layer-grid svg text { font-size: 9.5px; fill: var(--wb-muted); font-variant-numeric: tabular-nums; }
.wb-layer-axis { stroke: var(--wb-muted); stroke-width: .7px; fill: none; }
.wb-board { overflow-x: auto; }
.wb-leaderboard { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wb-leaderboard th { text-align: left; color: var(--wb-muted); font-weight: 400; }
.wb-leaderboard th, .wb-leaderboard td { padding: 2px 14px 2px 0; white-space: nowrap; border-bottom: 1px solid var(--wb-border); } .wb-leaderboard .wb-worse { color: var(--wb-muted); }
.wb-buttons .wb-wide.jupyter-button { width: 122px; }
.wb-transfer-grid.wb-search-grid { grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); } .wb-transfer-grid .wb-labelled > :first-child { width: 100px; }
.wb-versions { margin-top: 10px; } .wb-versions .widget-html-content { white-space: normal; } .wb-versions .wb-progress { margin: 2px 0 0 !important; }
.wb-versions-counts { display: flex; gap: 16px; overflow: visible; margin: 0; } .wb-versions-counts > * { flex: 1 1 0; min-width: 0; margin: 0; }
.wb-versions-counts > :last-child { flex: 0 1 40%; } .wb-transfer-grid .wb-versions-counts > :last-child > :first-child { width: auto; }
.wb-versions .wb-leaderboard th, .wb-versions .wb-leaderboard td { white-space: normal; padding-right: 10px; vertical-align: top; } .wb-versions .wb-leaderboard td:first-child { white-space: nowrap; }
.wb-seal { gap: 6px; overflow: visible; } .wb-seal > * { margin: 0; } .wb-seal .widget-html-content { white-space: normal; } .wb-seal .wb-labelled .widget-dropdown { width: 210px; } .wb-seal .jupyter-button { width: auto; } .wb-seal .wb-banner .wb-buttons .jupyter-button { width: auto; }
.wb-seal-result .widget-html-content > div { padding-left: 8px; border-left: 3px solid var(--wb-border); }
.wb-diagnosis { gap: 4px; overflow: visible; } .wb-diagnosis > * { margin: 0; } .wb-diagnosis .widget-html-content { white-space: normal; } .wb-diagnosis-card { padding: 2px 0 8px; overflow: visible; } .wb-diagnosis-card > * { margin: 0; }
.wb-diagnosis-state { min-height: 18px; }
.wb-diagnosis-evidence { margin: 4px 0; padding-left: 18px; } .wb-ill { border-left-color: var(--jp-warn-color1, #ef6c00); }
.wb-root .wb-tabs.jupyter-widgets > .lm-TabBar .lm-TabBar-tab { flex: 0 1 auto; min-width: 0; padding: 0 9px; }
.wb-tabs { overflow: visible; } .wb-tabs > .widget-tab-contents { padding: 8px 10px; overflow: hidden; }
@container (max-width: 760px) {
  .wb-body { grid-template-columns: minmax(0, 1fr); }
  .wb-side { max-height: 340px; overflow-y: auto; order: 2; align-self: stretch; } .wb-main { order: 1; }
  .wb-controls { display: grid !important; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); column-gap: 24px; }
}
</style>"""
