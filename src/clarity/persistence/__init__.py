"""SQLAlchemy: the tables, the mapping and the queries of a feature in one file. The only place where SQL stands."""
