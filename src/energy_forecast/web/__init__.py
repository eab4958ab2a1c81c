"""The live pages: routes, forms and views."""
