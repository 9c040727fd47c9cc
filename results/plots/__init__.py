"""Pictures: of measures as SVG in pages and as files of matplotlib, and the figures of real panels."""
