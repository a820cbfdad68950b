"""Product tables from a URL or a file: CSV, TSV, XLSX, JSON lines and product-feed XML."""
