"""Kuaidi100 (快递100): tracking of parcels by subscription and by query."""
